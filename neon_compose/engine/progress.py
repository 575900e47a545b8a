"""What bootstrap and image builds tell while they work. The core emits these, the CLI renders them.

A step is told as `start`, any number of `progress` with a note, then `done` with its time; a step
that had nothing to do is told as one `done` whose note says why. A failure is an exception, no event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from neon_compose.wait import monotonic_s


class StepState(StrEnum):
    START = "start"
    PROGRESS = "progress"
    DONE = "done"


@dataclass(frozen=True)
class Step:
    """`name` says what ("image postgres"), `note` the last thing seen; `ms` is set when work was done."""

    name: str
    state: StepState
    note: str = ""
    ms: float | None = None


Progress = Callable[[Step], None]
Say = Callable[[str], None]


def already(progress: Progress, name: str, note: str) -> None:
    """Tell that a step was done before."""
    progress(Step(name, StepState.DONE, note))


@contextmanager
def step(progress: Progress, name: str, note: str = "") -> Iterator[Say]:
    """Tell start and end of the work inside; what it yields tells a line in between."""
    begun_s = monotonic_s()
    progress(Step(name, StepState.START, note))
    yield lambda line: progress(Step(name, StepState.PROGRESS, line))
    progress(Step(name, StepState.DONE, "", (monotonic_s() - begun_s) * 1000))
