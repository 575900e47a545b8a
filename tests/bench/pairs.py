"""Two sides, measured in turn.

The rules, fixed before anything is looked at:
- Both sides are warmed once, unrecorded, before the first pair.
- Pairs alternate: floor, ours, floor, ours. Each side starts on a calm machine (`calm`).
- The first pair of every measure is recorded and discarded (`DISCARDED`). Nothing else ever is.
- What is reported is the median of the pairs' ratios ours / floor, with p10 and p90.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

DISCARDED = 1
_SETTLE_S = 0.2
_INODES_REUSED_S = 65.0

Sample = Mapping[str, float]
Side = Callable[[], Sample]


@dataclass(frozen=True)
class Pair:
    floor: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.ours / self.floor


@dataclass(frozen=True)
class Pairs:
    """All pairs of one run; each side may give several numbers by name."""

    samples: Sequence[tuple[Sample, Sample]]

    def of(self, name: str) -> list[Pair]:
        """The pairs of one number, the discarded ones left out."""
        return [Pair(floor[name], ours[name]) for floor, ours in self.samples[DISCARDED:]]

    def all_of(self, name: str) -> list[Pair]:
        return [Pair(floor[name], ours[name]) for floor, ours in self.samples]


@dataclass(frozen=True)
class Spread:
    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), percentile(values, 0.1), percentile(values, 0.9))


def percentile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest of the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def calm() -> None:
    """Let what earlier work left behind reach the disk, so that no side pays for the other."""
    os.sync()
    time.sleep(_SETTLE_S)


def calm_inodes() -> None:
    """Let the file system forget that thousands of files were just removed.

    ext4 without a journal does not reuse an inode for 60 s after its file is gone, and until then walks
    past each of them at every create (`recently_deleted` in fs/ext4/ialloc.c): measured 8 us a file before
    and 35 to 80 us after a mass delete. That is neither side's doing, and only ours makes files.
    """
    time.sleep(_INODES_REUSED_S)


@dataclass
class Alternation:
    """Runs both sides in turn. `warm_*` default to the sides themselves."""

    floor: Side
    ours: Side
    warm_floor: Callable[[], object] | None = None
    warm_ours: Callable[[], object] | None = None
    before_each: Callable[[], None] = field(default=calm)

    def run(self, pairs: int) -> Pairs:
        """`pairs` pairs that count, and the discarded ones before them."""
        (self.warm_floor or self.floor)()
        (self.warm_ours or self.ours)()
        samples: list[tuple[Sample, Sample]] = []
        for _ in range(pairs + DISCARDED):
            self.before_each()
            floor = self.floor()
            self.before_each()
            samples.append((floor, self.ours()))
        return Pairs(samples)


class Stopwatch:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000
