"""Which point a moment is: over the branch's own WAL, its parents' and what had its name before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from neon_compose.errors import Conflict, Corrupt, NeonError, NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.model.moments import Settled, Time
from neon_compose.model.names import Name
from neon_compose.objectstore import cas, manifests
from neon_compose.objectstore.documents import Manifest, Point, manifest_key
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.moments import Moments, NoSafekeepers, Start
from tests.unit.pageserver.storage import World

T0 = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)  # when main was made


def at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    change(world, "main", created=T0)
    world.committed.receive(world.store, "main", end_of(world, "main"))
    return world


def change(world: World, name: str, **fields: object) -> None:
    branch_id = world.branches.find(name).branch_id
    manifests.update_manifest(world.store, branch_id, lambda one: replace(one, **fields))  # type: ignore[arg-type]


def end_of(world: World, name: str) -> Lsn:
    return world.moments.end_of(world.branches.find(name).layers)


def child(world: World, name: str, of: str, moment: Settled | None, created: datetime) -> Manifest:
    world.branches.create(name, of, moment)
    change(world, name, created=created)
    manifest = world.branches.find(name)
    assert manifest.parent is not None
    world.committed.receive(world.store, name, manifest.parent.lsn)
    return manifest


def point(world: World, branch: str, moment: Settled | None = None) -> tuple[str, Lsn]:
    """(name of the owner, LSN)."""
    found = world.moments.start(branch, moment).point
    return manifests.read_manifest(world.store, found.branch_id).name, found.lsn


def refused(kind: type[NeonError], code: str, work: Callable[[], object]) -> NeonError:
    with pytest.raises(kind) as caught:
        work()
    assert caught.value.code == code
    return caught.value


# ---- the latest


def test_the_latest_moment_is_the_end_of_committed_wal_and_costs_no_walk(world: World) -> None:
    assert point(world, "main") == ("main", end_of(world, "main"))
    end = world.committed.write(world.store, "main", 100, at(1))
    assert point(world, "main") == ("main", end)
    assert world.records.walks == []
    assert world.committed.asked == ["end of main", "end of main"]


def test_a_branch_that_never_had_wal_ends_where_it_starts(world: World) -> None:
    end = world.committed.write(world.store, "main", 100, at(1))
    world.branches.create("shop", "main", None)
    world.committed.write(world.store, "main", 100, at(2))
    assert point(world, "shop") == ("shop", end)


def test_writes_that_no_safekeeper_has_are_refused_and_the_end_before_them_is_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    change(world, "main", created=T0)
    assert point(world, "main") == ("main", end_of(world, "main"))
    world.up("one", "main")
    world.commit("one")
    for moment in (None, Lsn(1 << 40), Time(at(1))):
        error = refused(Conflict, "source_has_writes", lambda m=moment: world.moments.start("main", m))  # type: ignore[misc]
        assert "init" in error.hint
    assert point(world, "main", end_of(world, "main")) == ("main", end_of(world, "main"))


def test_with_safekeepers_writes_are_no_hindrance(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.up("one", "main")
    world.commit("one")
    world.committed.receive(world.store, "main", end_of(world, "main"))
    end = world.committed.write(world.store, "main", 100, at(1))
    assert point(world, "main") == ("main", end)


# ---- an LSN


def test_an_lsn_within_a_record_is_the_end_of_the_one_before(world: World) -> None:
    first = world.committed.write(world.store, "main", 100)
    second = world.committed.write(world.store, "main", 200)
    assert point(world, "main", first) == ("main", first)
    assert point(world, "main", Lsn(second.value - 1)) == ("main", first)
    assert point(world, "main", second) == ("main", second)


def test_an_lsn_before_a_branchs_start_is_its_parents(world: World) -> None:
    first = world.committed.write(world.store, "main", 100)
    second = world.committed.write(world.store, "main", 100)
    child(world, "shop", "main", None, at(3))
    own = world.committed.write(world.store, "shop", 100)
    child(world, "try", "shop", None, at(4))
    world.committed.write(world.store, "main", 400)  # after shop left it: not of shop's line
    for branch in ("shop", "try"):
        assert point(world, branch, first) == ("main", first)
        assert point(world, branch, second) == ("shop", second)
        assert point(world, branch, Lsn(own.value - 1)) == ("shop", second)
    assert point(world, "try", own) == ("try", own)


def test_an_lsn_outside_of_history_is_refused_with_the_range(world: World) -> None:
    end = world.committed.write(world.store, "main", 100)
    for outside in (Lsn(end.value + 1), Lsn(end_of(world, "main").value - 1), Lsn(0)):
        error = refused(NotFound, "no_such_moment", lambda lsn=outside: world.moments.start("main", lsn))  # type: ignore[misc]
        assert f"from {end_of(world, 'main')} (2026-11-28T10:00:00Z) to {end}" in error.detail


def test_damaged_wal_keeps_no_moment_before_it_from_being_opened(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    world.committed.damaged = world.committed.write(world.store, "main", 100, at(2))
    end = world.committed.write(world.store, "main", 100, at(3))
    assert point(world, "main", first) == ("main", first)
    assert point(world, "main", world.committed.damaged) == ("main", world.committed.damaged)
    for moment in (end, Time(at(3)), None):
        refused(Corrupt, "wal_damaged", lambda m=moment: world.moments.start("main", m))  # type: ignore[misc]


def test_a_start_has_the_layers_that_end_by_then(world: World) -> None:
    bottom = world.branches.find("main").layers
    first = world.committed.write(world.store, "main", 100)
    second = world.committed.write(world.store, "main", 100)
    top = (*bottom, new_id())
    change(world, "main", layers=top)
    ends = {bottom: end_of_bottom(world, bottom), top: second}
    moments = replace(world.moments, end_of=lambda layers: ends[layers])
    assert moments.start("main", first).layers == bottom
    assert moments.start("main", second).layers == top
    assert moments.start("main", None).layers == top
    child_of = moments.start("main", Lsn(second.value - 1))
    assert (child_of.layers, child_of.point.lsn) == (bottom, first)


def end_of_bottom(world: World, layers: tuple[object, ...]) -> Lsn:
    return world.moments.end_of(layers)  # type: ignore[arg-type]


# ---- a time


def test_a_time_is_just_before_the_first_commit_after_it(world: World) -> None:
    start = end_of(world, "main")
    first = world.committed.write(world.store, "main", 100, at(1))
    between = world.committed.write(world.store, "main", 50)
    last = world.committed.write(world.store, "main", 100, at(2))
    assert point(world, "main", Time(at(0))) == ("main", start)
    assert point(world, "main", Time(at(0.5))) == ("main", start)
    assert point(world, "main", Time(at(1))) == ("main", between)
    assert point(world, "main", Time(at(1.5))) == ("main", between)
    assert point(world, "main", Time(at(2))) == ("main", last)
    assert point(world, "main", Time(at(60))) == ("main", last)
    assert first < between


def test_a_time_before_a_branch_was_made_is_its_parents(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    second = world.committed.write(world.store, "main", 100, at(2))
    child(world, "shop", "main", None, at(3))
    world.committed.write(world.store, "main", 100, at(3.5))
    own = world.committed.write(world.store, "shop", 100, at(4))
    assert point(world, "shop", Time(at(1.5))) == ("main", first)
    assert point(world, "shop", Time(at(2.5))) == ("main", second)
    assert point(world, "shop", Time(at(3.7))) == ("shop", second)
    assert point(world, "shop", Time(at(5))) == ("shop", own)


def test_a_branch_of_an_older_moment_was_its_start_until_it_was_made(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    world.committed.write(world.store, "main", 100, at(2))
    child(world, "shop", "main", first, at(3))
    assert point(world, "shop", Time(at(2.5))) == ("main", first)


def test_a_recent_time_is_looked_for_in_the_wal_over_the_newest_layer_only(world: World) -> None:
    start, bottom = end_of(world, "main"), world.branches.find("main").layers
    ends = {bottom: start}
    commits = [world.committed.write(world.store, "main", 100, at(minute)) for minute in range(1, 7)]
    top = (*bottom, new_id(), new_id())
    middle = top[:2]
    ends |= {middle: commits[1], top: commits[3]}
    change(world, "main", layers=top)
    moments = replace(world.moments, end_of=lambda layers: ends[layers])
    found = {minute: moments.start("main", Time(at(minute))).point.lsn for minute in (0.5, 2.5, 3.5, 4, 5.5)}
    assert found == {0.5: start, 2.5: commits[1], 3.5: commits[2], 4: commits[3], 5.5: commits[4]}
    world.records.walks.clear()
    assert moments.start("main", Time(at(5.5))).layers == top
    assert world.records.walks == [(commits[3], commits[5])]
    assert moments.start("main", Time(at(3.5))).layers == middle


def test_a_time_before_all_history_is_refused_with_the_range(world: World) -> None:
    end = world.committed.write(world.store, "main", 100, at(1))
    error = refused(NotFound, "no_such_moment", lambda: world.moments.start("main", Time(at(-1))))
    assert "2026-11-28T10:00:00Z" in error.detail
    assert str(end) in error.detail


# ---- over a refresh


def refreshed(world: World) -> tuple[Manifest, Manifest]:
    """main before and after; the newer one has the same layers and later LSNs."""
    old = world.branches.find("main")
    new = replace(old, branch_id=new_id(), created=at(10), pins=(), register=None, parent=None)
    cas.put_once(world.store, manifest_key(new.branch_id), new)
    change(world, "main", successor=new.branch_id)
    return old, new


def test_before_a_refresh_main_was_what_had_its_name_then(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    last = world.committed.write(world.store, "main", 100, at(2))
    old, new = refreshed(world)
    assert world.moments.start("main", Time(at(1))).point == Point(old.branch_id, first)
    assert world.moments.start("main", Time(at(9))).point == Point(old.branch_id, last)
    assert world.moments.start("main", Time(at(11))).point.branch_id == new.branch_id
    assert world.moments.start("main", Name("init")).point.branch_id == old.branch_id
    assert world.moments.start("main", None).point.branch_id == new.branch_id


# ---- snapshots


def test_a_snapshot_is_a_moment_of_all_that_come_after_it(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    world.branches.create_snapshot("one", "main", None)
    child(world, "shop", "main", None, at(2))
    world.committed.write(world.store, "main", 100, at(3))
    world.branches.create_snapshot("later", "main", None)
    for branch in ("main", "shop"):
        assert point(world, branch, Name("one")) == ("main", first)
    error = refused(NotFound, "no_snapshot", lambda: world.moments.start("shop", Name("later")))
    assert "one" in error.hint
    refused(NotFound, "no_snapshot", lambda: world.moments.start("main", Name("nothing")))


def test_a_snapshot_is_the_point_it_was_asked_for_first(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    made, is_new = world.branches.create_snapshot("one", "main", None)
    assert (made.ref.lsn, is_new) == (first, True)
    world.committed.write(world.store, "main", 100, at(2))
    assert world.branches.create_snapshot("one", "main", None) == (made, False)
    refused(Conflict, "snapshot_exists", lambda: world.branches.create_snapshot("one", "main", Time(at(3))))


def test_a_snapshot_of_a_parents_moment_is_the_parents(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    world.committed.write(world.store, "main", 100, at(2))
    child(world, "shop", "main", None, at(3))
    made, _ = world.branches.create_snapshot("one", "shop", first)
    assert (made.ref.branch_id, made.ref.lsn) == (world.branches.find("main").branch_id, first)
    assert world.branches.show_snapshot("one").branch == "main"


# ---- branches


def test_a_branch_of_the_end_is_the_same_when_asked_for_again_later(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    made, is_new = world.branches.create("shop", "main", None)
    assert (made.parent, is_new) == (Point(world.branches.find("main").branch_id, first), True)
    world.committed.write(world.store, "main", 100, at(2))
    assert world.branches.create("shop", "main", None) == (made, False)
    refused(Conflict, "branch_exists", lambda: world.branches.create("shop", "main", Time(at(3))))


def test_a_claim_that_was_cut_off_is_finished_at_the_point_it_named(world: World) -> None:
    first = world.committed.write(world.store, "main", 100, at(1))
    made, _ = world.branches.create("shop", "main", None)
    world.store.delete(f"branches/{made.branch_id}.json")
    world.committed.write(world.store, "main", 100, at(2))
    again, is_new = world.branches.create("shop", "main", None)
    assert (again.branch_id, is_new) == (made.branch_id, True)
    assert again.parent is not None
    assert again.parent.lsn == first


def test_a_name_that_was_deleted_means_the_end_as_it_is_now(world: World) -> None:
    world.committed.write(world.store, "main", 100, at(1))
    world.branches.create("shop", "main", None)
    manifests.delete_branch(world.store, "shop")
    end = world.committed.write(world.store, "main", 100, at(2))
    made, is_new = world.branches.create("shop", "main", None)
    assert is_new
    assert made.parent is not None
    assert made.parent.lsn == end


def test_of_two_makers_with_the_same_words_the_later_finds_the_firsts_branch(world: World) -> None:
    world.committed.write(world.store, "main", 100, at(1))
    other = replace(world.moments)
    asked = []

    class Overtaken(Moments):
        def start(self, branch: str | None, moment: Settled | None) -> Start:
            found = other.start(branch, moment)
            if not asked:
                asked.append(world.branches.create("shop", "main", None)[0])
                world.committed.write(world.store, "main", 100, at(2))
                return other.start(branch, moment)
            return found

    slow = Overtaken(other.store, other.end_of, other.has_writes, other.wal, other.records)
    assert Branches(world.store, slow).create("shop", "main", None) == (asked[0], False)


def test_a_stack_without_safekeepers_says_that_wal_is_elsewhere(world: World) -> None:
    moments = replace(world.moments, wal=NoSafekeepers())
    refused(Unavailable, "no_safekeepers", lambda: moments.start("main", None))
    assert moments.start("main", Name("init")).point.lsn == end_of(world, "main")
