"""The cases of test_wal.py, inside a container of the safekeeper's image:

    python -m tests.wal.inside FOLDER SMALL ROUNDS SEED [CASE...]

FOLDER is empty, SMALL a file system of its own with little room. Prints one line of JSON: what went wrong in
which case, None where nothing did.
"""

from __future__ import annotations

import json
import random
import sys
import traceback
from pathlib import Path

from neon_compose import wait
from tests.wal import clock_cases, receiver_cases, safekeeper_cases, walk_cases
from tests.wal.place import Place
from tests.wal.server import Template

CASES = [*receiver_cases.CASES, *walk_cases.CASES, *clock_cases.CASES, *safekeeper_cases.CASES]


def main(home: Path, small: Path, rounds: int, seed: int, names: list[str]) -> dict[str, str | None]:
    (home / "template").mkdir(mode=0o700)
    template = Template(home / "template")
    wrong: dict[str, str | None] = {}
    for case in CASES:
        if names and case.__name__ not in names:
            continue
        folder = home / case.__name__[:40]
        folder.mkdir(mode=0o700)
        began = wait.monotonic_s()
        try:
            case(Place(template, folder, small, rounds, random.Random(seed)))
            wrong[case.__name__] = None
        except BaseException:
            wrong[case.__name__] = traceback.format_exc() + getattr(sys.exc_info()[1], "detail", "")
        print(f"{wait.monotonic_s() - began:.1f} s {case.__name__}", file=sys.stderr)
    return wrong


if __name__ == "__main__":
    folder_, small_, rounds_, seed_, *names_ = sys.argv[1:]
    print(json.dumps(main(Path(folder_), Path(small_), int(rounds_), int(seed_), names_)))
