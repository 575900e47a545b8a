"""Two lanes of tests: what is shown, what the status is, and that Ctrl-C ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neon_compose import wait

SLEEPS = """
import pathlib, sys, time
name = pathlib.Path(sys.argv[1])
try:
    name.with_suffix(".there").touch()
    time.sleep(60)
except KeyboardInterrupt:
    name.with_suffix(".tidied").touch()
    sys.exit(2)
"""
KILLS_ITSELF = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


def lanes(seen: tuple[str, ...], beside: tuple[str, ...]) -> subprocess.Popen[str]:
    """Both run as Python programs, in a process group of their own, as under a terminal."""
    commands = [[sys.executable, "-c", *one] for one in (seen, beside)]
    code = f"import sys; from tests import lanes; sys.exit(lanes.run(*{commands!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize(
    ("seen", "beside", "status"),
    [
        ("pass", "pass", 0),
        ("exit(1)", "pass", 1),
        ("pass", "exit(1)", 1),
        ("exit(2)", "exit(1)", 2),
        ("pass", KILLS_ITSELF, 137),
    ],
)
def test_the_status_is_that_of_a_lane_that_failed(seen: str, beside: str, status: int) -> None:
    started = lanes((seen,), (beside,))
    said, _ = started.communicate(timeout=60)
    assert started.returncode == status
    assert said.count(": passed\n") == [seen, beside].count("pass")


def test_what_the_second_lane_said_comes_whole_after_the_first() -> None:
    started = lanes(
        ("print('one', flush=True)",), ("import sys; print('two'); print('three', file=sys.stderr)",)
    )
    said, _ = started.communicate(timeout=60)
    words = [line for line in said.splitlines() if not line.startswith("--")]
    assert words[0] == "one"
    assert sorted(words) == ["one", "three", "two"]


def test_ctrl_c_ends_both_and_both_tidy_up(tmp_path: Path) -> None:
    started = lanes((SLEEPS, str(tmp_path / "a")), (SLEEPS, str(tmp_path / "b")))
    there = lambda: len(list(tmp_path.glob("*.there"))) == 2  # noqa: E731
    wait.until("both lanes to run", there, wait.Deadline.after(60))
    os.killpg(started.pid, signal.SIGINT)
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 2
    assert said.count("ended with 2") == 2
    assert {path.name for path in tmp_path.glob("*.tidied")} == {"a.tidied", "b.tidied"}
