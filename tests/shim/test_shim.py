"""Runs the shim's C tests (tests/shim/Makefile) so that pytest sees them.

They need a C compiler with its sanitizers and nothing else: no Docker, no Postgres.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import scale

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for object files, which the tests of this module share."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler here")
    return tmp_path_factory.mktemp("shim")


def _make(target: str, build: Path, timeout: float, **settings: int) -> None:
    run = subprocess.run(
        ["make", "-C", str(HERE), "-j2", target, f"BUILD={build}"],
        env={**os.environ, "TMPDIR": str(build), "MAKEFLAGS": "", **{k: str(v) for k, v in settings.items()}},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(run.stdout[-1000:])
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]


def test_c_tests_of_the_shim_pass(build: Path) -> None:
    """`make check` in a fresh build directory."""
    _make("check", build, timeout=240)


@pytest.mark.chaos
def test_killed_processes_leave_what_plain_files_would_have(build: Path) -> None:
    """Eight processes do anything to mapped files and are killed; in chaos for an hour or so."""
    _make(
        "run-test_stress",
        build,
        timeout=scale.amount(300, 4 * 3600),
        STRESS_SEED=scale.seed(),
        STRESS_BRANCHES=scale.amount(14, 5000),
        STRESS_STEPS=100,
    )


@pytest.mark.chaos
def test_threads_see_plain_files_and_have_no_race(build: Path) -> None:
    """The same by eight threads, every object compiled for ThreadSanitizer."""
    _make(
        "run-threads",
        build,
        timeout=scale.amount(300, 4 * 3600),
        STRESS_SEED=scale.seed(),
        STRESS_STEPS=scale.amount(800, 100_000),
    )
