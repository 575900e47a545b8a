"""The rules by which numbers are compared, on numbers made up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bench import report
from tests.bench.__main__ import GROUPS, chosen
from tests.bench.goals import Measure, added_at_most, ratio_at_least, ratio_at_most, share_at_most
from tests.bench.pairs import Alternation, Pair, Sample, Spread


class Sides:
    """Two sides that note who was asked when, and answer with growing numbers."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._numbers: Iterator[int] = iter(range(1, 1000))

    def side(self, name: str) -> Sample:
        self.asked.append(name)
        return {"n": next(self._numbers)}

    def run(self, pairs: int) -> list[Pair]:
        made = Alternation(lambda: self.side("floor"), lambda: self.side("ours"), before_each=lambda: None)
        return made.run(pairs).of("n")


def test_pairs_alternate_after_both_sides_are_warm() -> None:
    sides = Sides()
    sides.run(2)
    assert sides.asked == ["floor", "ours"] * (1 + 1 + 2)


def test_the_first_pair_alone_is_discarded() -> None:
    assert Sides().run(3) == [Pair(5, 6), Pair(7, 8), Pair(9, 10)]


def test_a_spread_is_the_median_and_the_outer_tenths() -> None:
    assert Spread.of([10, 0, 5, 1, 9, 2, 8, 3, 7, 4, 6]) == Spread(5, 1, 9)


@pytest.mark.parametrize(
    ("goal", "pair", "met"),
    [
        (ratio_at_most(0.8), Pair(100, 80), True),
        (ratio_at_most(0.8), Pair(100, 81), False),
        (ratio_at_most(0.8, allowance_ms=450), Pair(100, 530), True),
        (ratio_at_least(0.97), Pair(100, 96), False),
        (added_at_most(250, "ms"), Pair(100, 350), True),
        (share_at_most(3), Pair(100, 3.1), False),
    ],
)
def test_a_goal_judges_the_median_of_the_counted_pairs(goal: object, pair: Pair, met: bool) -> None:
    outlier = Pair(1, 1e9)
    measure = Measure("m", "ms", [outlier, pair, pair, pair], goal)  # type: ignore[arg-type]
    assert measure.met is met


def test_a_measure_without_a_floor_shows_no_ratio() -> None:
    assert report.row(Measure.alone("up", "s", [1.234])) == "| up |  | 1.23 s |  |  |  |"


def test_the_document_keeps_the_discarded_pairs_too() -> None:
    document = report.as_document(Measure("m", "ms", [Pair(1, 2), Pair(2, 6)], ratio_at_most(3)))
    assert document["pairs"] == [{"floor": 1, "ours": 2}, {"floor": 2, "ours": 6}]
    assert document["ratio"] == {"median": 3, "p10": 3, "p90": 3}


def test_a_quick_run_leaves_out_the_large_databases() -> None:
    names = {group.name for group in chosen([], quick=True)}
    assert names < {group.name for group in GROUPS}
    assert not names & {"branch-s68", "branch-s342", "branch-r10000"}


def test_a_group_asked_for_by_name_runs_even_when_quick() -> None:
    assert [group.name for group in chosen(["branch-s342"], quick=True)] == ["branch-s342"]
