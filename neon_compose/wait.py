"""The only clock and the only sleep.

Every wait has a deadline, a subject and a liveness check, and its error carries the last thing seen.
Pauses start at 5 ms and grow by half up to `longest_s`, so a fast event is seen fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from neon_compose.errors import TimedOut

T = TypeVar("T")

FIRST_PAUSE_S = 0.005


def now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def now_ns() -> int:
    """The wall clock as the kernel stamps files by it: nanoseconds since 1970."""
    return time.time_ns()


def monotonic_s() -> float:
    return time.monotonic()


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock by which something must have happened."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    @property
    def left_s(self) -> float:
        return max(0.0, self.at_s - time.monotonic())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at_s


def until(
    subject: str,
    probe: Callable[[], T | None],
    deadline: Deadline,
    *,
    alive: Callable[[], None] = lambda: None,
    last_words: Callable[[], str] = lambda: "",
    longest_s: float = 0.25,
) -> T:
    """Call `probe` until it gives something other than None or False, and return that.

    `alive` raises when waiting on is pointless (a dead container). Raises `TimedOut` naming
    `subject`, with `last_words()` (say, the last log lines) as detail.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        seen = probe()
        if seen is not None and seen is not False:
            return seen
        alive()
        if deadline.passed:
            raise TimedOut(f"timed out waiting for {subject}", detail=last_words())
        time.sleep(min(pause_s, max(deadline.left_s, 0.001)))
        pause_s = min(pause_s * 1.5, longest_s)
