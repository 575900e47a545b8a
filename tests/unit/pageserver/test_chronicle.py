"""The minutes of a branch, from its own WAL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from neon_compose.errors import NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.pageserver.chronicle import Chronicle
from neon_compose.pageserver.moments import Moments, NoSafekeepers
from neon_compose.wire.chronicle import BranchLog
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_moments import T0, at, change, child, end_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    change(world, "main", created=T0)
    world.committed.receive(world.store, "main", end_of(world, "main"))
    return world


def log(world: World, branch: str = "main", limit: int = 60, moments: Moments | None = None) -> BranchLog:
    return Chronicle(moments or world.moments, world.records).of(branch, limit)


def rows(found: BranchLog) -> list[tuple[float, int, int, str, str, int]]:
    """(minutes since T0, commits, changes of catalogs, first, last, bytes)."""
    return [
        (
            (one.minute - T0).total_seconds() / 60,
            one.commits,
            one.catalog_changes,
            one.first_lsn,
            one.last_lsn,
            one.wal_bytes,
        )
        for one in found.minutes
    ]


def test_commits_are_counted_by_the_minute_and_their_ends_are_moments(world: World) -> None:
    start = end_of(world, "main")
    first = world.committed.write(world.store, "main", 100, at(1.1))
    world.committed.write(world.store, "main", 1000)
    last = world.committed.write(world.store, "main", 100, at(1.9), ddl=True)
    other = world.committed.write(world.store, "main", 50, at(3))
    end = world.committed.write(world.store, "main", 7)
    found = log(world)
    assert (found.start_lsn, found.end_lsn, found.more) == (str(start), str(end), False)
    assert rows(found) == [
        (1, 2, 1, str(first), str(last), 1200),
        (3, 1, 0, str(other), str(other), 50),
    ]
    assert str(found.minutes[0].minute) == "2026-11-28 10:01:00+00:00"
    for one in found.minutes:
        for lsn in (one.first_lsn, one.last_lsn):
            assert str(world.moments.start("main", Lsn.parse(lsn)).point.lsn) == lsn


def test_a_commit_that_comes_late_is_of_the_minute_it_comes_in(world: World) -> None:
    for minute in (1, 2, 1.99, 2.1, 1.98):
        world.committed.write(world.store, "main", 100, at(minute))
    assert [one[:2] for one in rows(log(world))] == [(1, 1), (2, 4)]


def test_a_clock_that_was_set_back_makes_minutes_that_go_back(world: World) -> None:
    for minute in (10, 11, 5, 6):
        world.committed.write(world.store, "main", 100, at(minute))
    assert [one[0] for one in rows(log(world))] == [10, 11, 5, 6]


def test_the_newest_minutes_are_told_and_that_there_are_older_ones(world: World) -> None:
    ends = [world.committed.write(world.store, "main", 100 * (n + 1), at(n)) for n in range(5)]
    found = log(world, limit=2)
    assert [(one[0], one[4], one[5]) for one in rows(found)] == [
        (3, str(ends[3]), 400),
        (4, str(ends[4]), 500),
    ]
    assert found.more
    assert not log(world, limit=5).more
    assert log(world, limit=4).more


def layered(world: World, ends: list[Lsn]) -> Moments:
    """main with a layer at each of `ends` over its first."""
    bottom = world.branches.find("main").layers
    stacks = {bottom: end_of(world, "main")}
    layers = bottom
    for end in ends:
        layers = (*layers, new_id())
        stacks[layers] = end
    change(world, "main", layers=layers)
    return replace(world.moments, end_of=lambda asked: stacks[asked])


def test_layers_in_between_make_no_difference(world: World) -> None:
    times = [1, 1.5, 2, 1.9, 2.5, 4, 5, 5.5]
    ends = [world.committed.write(world.store, "main", 100, at(one)) for one in times]
    whole = log(world)
    moments = layered(world, [ends[0], ends[2], ends[3], ends[6]])
    assert log(world, moments=moments) == whole
    assert [one[:2] for one in rows(whole)] == [(1, 2), (2, 3), (4, 1), (5, 2)]


def test_wal_below_the_minutes_asked_for_is_not_read(world: World) -> None:
    ends = [world.committed.write(world.store, "main", 100, at(n)) for n in range(6)]
    moments = layered(world, [ends[1], ends[3]])
    world.records.walks.clear()
    assert [one[0] for one in rows(log(world, limit=2, moments=moments))] == [4, 5]
    assert world.records.walks == [(ends[3], ends[5]), (ends[1], ends[3])]  # the second for where 4 begins
    world.records.walks.clear()
    assert [one[0] for one in rows(log(world, limit=1, moments=moments))] == [5]
    assert world.records.walks == [(ends[3], ends[5])]


def test_moments_whose_layers_are_gone_are_not_told(world: World) -> None:
    ends = [world.committed.write(world.store, "main", 100, at(n)) for n in range(4)]
    shop = child(world, "shop", "main", ends[0], at(4))
    change(world, "main", parent=shop.parent)  # which its own layers begin after
    moments = replace(world.moments, end_of=lambda _: ends[1])
    found = log(world, moments=moments)
    assert (found.start_lsn, [one[0] for one in rows(found)]) == (str(ends[1]), [2, 3])


def test_what_is_a_parents_is_not_told(world: World) -> None:
    world.committed.write(world.store, "main", 100, at(1))
    shop = child(world, "shop", "main", None, at(2))
    assert shop.parent is not None
    own = world.committed.write(world.store, "shop", 100, at(3))
    found = log(world, "shop")
    assert [one[0] for one in rows(found)] == [3]
    assert (found.start_lsn, found.end_lsn) == (str(shop.parent.lsn), str(own))


def test_a_branch_without_wal_of_its_own_has_no_minutes(world: World) -> None:
    end = world.committed.write(world.store, "main", 100, at(1))
    world.branches.create("shop", "main", None)
    found = log(world, "shop")
    assert found == BranchLog(start_lsn=str(end), end_lsn=str(end), minutes=[], more=False)


def test_wal_without_a_commit_has_no_minutes(world: World) -> None:
    end = world.committed.write(world.store, "main", 100)
    found = log(world)
    assert (found.minutes, found.end_lsn) == ([], str(end))


def test_a_branch_that_is_not_there_and_wal_that_is_elsewhere_are_told(world: World) -> None:
    with pytest.raises(NotFound):
        log(world, "other")
    with pytest.raises(Unavailable) as caught:
        log(world, moments=replace(world.moments, wal=NoSafekeepers()))
    assert caught.value.code == "no_safekeepers"
