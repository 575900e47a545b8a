"""The pageserver killed, and the power cut, at every change of a file (cut.py does it).

Then a pageserver starts over what is there, the same request succeeds, all is as if nothing had happened,
and nothing is left over. After a power cut a compute that had not settled may be doubtful, and is made anew
as the hint says; one that had settled never is, and keeps its writes and what ALTER SYSTEM set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import scale
from tests.kills.cut import CASES, KILL, NAMES, NOTHING

HOW = (KILL, NOTHING, NAMES)
MANY = (
    "birth",
    "import",
    "refresh",
    "start",
    "delete data",
    "redo",
)  # of their moments each way tries a third, another one each


def cut_everywhere(case: str, how: str) -> dict[str, Any]:
    """In a program of its own, since it forks; its files in memory where that can be had."""
    every = scale.amount(3, 1) if case in MANY else 1
    first = HOW.index(how) % every
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="neon-test-", dir=memory) as folder:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "tests.kills.cut", case, how, folder, str(every), str(first)],
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.chaos
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("case", CASES)
def test_a_request_cut_off_anywhere_can_be_repeated_to_its_end(case: str, how: str) -> None:
    found = cut_everywhere(case, how)
    assert found["moments"] >= 10
    # The last changes are the settler's, a thread's: a run may be over with a few less than the one counted.
    assert 10 <= found["tried"] <= found["killed"] + 2
    assert found["expected"]["leftovers"] == []
    assert found["wrong"] == {}
    if how == KILL or case != "start":
        assert found["doubted"] == 0
