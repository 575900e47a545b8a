"""What a number should be (DESIGN 14), and one measured line of the report."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench.pairs import DISCARDED, Pair, Spread


@dataclass(frozen=True)
class Goal:
    """`holds` judges the pairs that count; for a measure without a floor, floor is 1 everywhere."""

    text: str
    holds: Callable[[Sequence[Pair]], bool]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio_at_most(limit: float, allowance_ms: float = 0) -> Goal:
    """ours - allowance <= limit x floor, in the median of the pairs."""
    text = f"<= {limit:g} x" + (f" + {allowance_ms:.0f} ms" if allowance_ms else "")
    return Goal(text, lambda pairs: _median([(p.ours - allowance_ms) / p.floor for p in pairs]) <= limit)


def ratio_at_least(limit: float) -> Goal:
    return Goal(f">= {limit:g} x", lambda pairs: _median([p.ratio for p in pairs]) >= limit)


def added_at_most(limit: float, unit: str) -> Goal:
    return Goal(
        f"adds <= {limit:g} {unit}", lambda pairs: _median([p.ours - p.floor for p in pairs]) <= limit
    )


def ours_at_most(limit: float, unit: str) -> Goal:
    return Goal(f"<= {limit:g} {unit}", lambda pairs: _median([p.ours for p in pairs]) <= limit)


def share_at_most(percent: float) -> Goal:
    """ours / floor as a share of the whole."""
    return Goal(f"<= {percent:g} %", lambda pairs: _median([p.ratio * 100 for p in pairs]) <= percent)


@dataclass(frozen=True)
class Measure:
    """One line: every pair in the order it was made, those the rule discards first."""

    name: str
    unit: str
    recorded: Sequence[Pair]
    goal: Goal | None = None
    has_floor: bool = True
    floor_is: str = "vanilla"
    notes: dict[str, object] = field(default_factory=dict)
    discarded: int = DISCARDED

    @classmethod
    def alone(cls, name: str, unit: str, values: Sequence[float], goal: Goal | None = None) -> Measure:
        """Numbers without a floor; none is discarded."""
        pairs = [Pair(1.0, value) for value in values]
        return cls(name, unit, pairs, goal, has_floor=False, floor_is="", discarded=0)

    @property
    def counted(self) -> Sequence[Pair]:
        return self.recorded[self.discarded :]

    @property
    def floor(self) -> Spread | None:
        return Spread.of([p.floor for p in self.counted]) if self.has_floor else None

    @property
    def ours(self) -> Spread:
        return Spread.of([p.ours for p in self.counted])

    @property
    def ratio(self) -> Spread | None:
        return Spread.of([p.ratio for p in self.counted]) if self.has_floor else None

    @property
    def met(self) -> bool | None:
        return self.goal.holds(self.counted) if self.goal else None
