"""Runs the shim's C tests (tests/shim/Makefile) so that pytest sees them.

They need a C compiler with ASan and UBSan and nothing else: no Docker, no Postgres.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_c_tests_of_the_shim_pass(tmp_path: Path) -> None:
    """`make check` in a fresh build directory succeeds within two minutes."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler here")
    run = subprocess.run(
        ["make", "-C", str(HERE), "-j2", "check", f"BUILD={tmp_path}"],
        env={**os.environ, "TMPDIR": str(tmp_path), "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
