"""Two controllers never work on one state volume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neon_compose.controller.alone import hold_state
from neon_compose.errors import Conflict

HOLD = """
import sys
from pathlib import Path
from neon_compose.controller.alone import hold_state
hold_state(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_controller_is_refused_and_a_killed_ones_place_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(Conflict, match="another controller"):
            hold_state(tmp_path, wait_s=0.05)
        first.kill()
        os.close(hold_state(tmp_path))
