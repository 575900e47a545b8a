"""A folder of WAL segments killed, and its power cut, at every change of a file (segments_cut.py does it).

At each moment the WAL in it is as before or as after, or, in between, less of what the change takes away:
never with a gap, a stale tail after a later start, or two names of one segment. Repeated, the change is done.
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
from tests.kills.segments_cut import CASES

LEAST = {"seed": 2, "settle": 3, "replace": 2}  # files made, renamed, removed


@pytest.mark.parametrize("how", [KILL, NOTHING, NAMES])
def test_a_change_of_the_wal_cut_off_anywhere_leaves_no_wal_that_was_never_there(how: str) -> None:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="neon-test-", dir=memory) as folder:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "tests.kills.segments_cut", how, folder],
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
        assert answer["moments"] >= LEAST.get(case, 3), (case, answer)
        assert answer["wrong"] == {}, (case, answer)
