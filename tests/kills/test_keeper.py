"""A safekeeper killed, and its power cut, at every change of a file (keeper_cut.py does it).

At each moment the next process finds what was before, or after, or between as the term protocol allows it: no
promise taken back, no receiver of an older term, no byte that another term wrote. Repeated, the request is
done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.kills.cut import KILL, NAMES, NOTHING
from tests.kills.keeper_cut import CASES

LEAST = 8  # changes of files, the start's among them


@pytest.mark.parametrize("how", [KILL, NOTHING, NAMES])
def test_a_safekeeper_cut_off_anywhere_keeps_what_it_promised(how: str) -> None:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="neon-test-", dir=memory) as folder:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "tests.kills.keeper_cut", how, folder],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found.keys() == CASES.keys()
    for case, answer in found.items():
        assert answer["moments"] >= LEAST, (case, answer)
        assert answer["wrong"] == {}, (case, answer)
