"""Deleted branches come back for a day, with all they had; after that nothing of them is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from neon_compose import wait
from neon_compose.disks import Disks
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.lsn import Lsn
from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Point
from neon_compose.pageserver import leftovers
from neon_compose.pageserver.app import make_app
from neon_compose.pageserver.deleting import Deleting
from neon_compose.wire.pageserver_client import PageserverClient
from tests.fakes_safekeeper import FakeSafekeepers
from tests.serving import Switch
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_app import TOKEN, deleting_of, service_of

DAY_S = 24 * 3600


class Clock:
    """The monotonic one, as the counting sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("neon_compose.pageserver.deleting.wait.monotonic_s", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, safekeepers=FakeSafekeepers(3))


def left_s(deleting: Deleting) -> list[tuple[str, int]]:
    return [(one.name, one.left_s) for one in deleting.shown()]


def pass_time(deleting: Deleting, clock: Clock, seconds: int) -> None:
    """In steps, as the thread does."""
    deleting.sweep()
    for _ in range(seconds // 600):
        clock.now_s += 600
        deleting.sweep()


def holders(world: World, branch: object) -> int:
    return sum(branch in keeper.branches for keeper in world.safekeepers.values())


def test_a_branch_with_wal_comes_back_and_starts(world: World, clock: Clock) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    before = world.branches.find("one")
    world.delete("one")
    deleting = deleting_of(world)
    tending = world.tending()
    deleting.delete("one")
    pass_time(deleting, clock, DAY_S - 600)
    tending.tend_all()
    assert holders(world, before.branch_id) == 3
    assert {keeper.branch(before.branch_id).receiver for keeper in world.safekeepers.values()} == {"stopped"}
    back = deleting.undelete("one", None)
    assert (back.branch_id, back.register) == (before.branch_id, before.register)
    world.up("two", "one", durability=Durability.QUORUM)
    register = world.branches.find("one").register
    assert register is not None
    assert register.decided.history.last.term == 2
    pass_time(deleting, clock, 2 * DAY_S)
    assert world.branches.find("one").branch_id == before.branch_id


def test_after_a_day_that_somebody_saw_pass_nothing_of_it_is_left(world: World, clock: Clock) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    gone = world.branches.find("one").branch_id
    world.delete("one")
    deleting = deleting_of(world)
    deleting.delete("one")
    pass_time(deleting, clock, DAY_S - 600)
    assert left_s(deleting) == [("one", 600)]
    pass_time(deleting, clock, 600)
    assert left_s(deleting) == []
    deleting.sweep()
    assert holders(world, gone) == 0
    assert [one.name for one in manifests.list_branches(world.store)] == ["main"]
    assert list(world.store.list("branches/")) == [f"branches/{world.branches.find('main').branch_id}.json"]
    assert [pin.kind for pin in world.branches.find("main").pins] == ["snapshot"]
    assert list(leftovers.find(world.store, world.generations, world.scratch)) == []
    with pytest.raises(NotFound) as caught:
        deleting.undelete("one", None)
    assert caught.value.code == "no_deleted_branch"


@pytest.mark.parametrize("skew", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_is_set_takes_no_branch_away(
    world: World, clock: Clock, skew: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.branches.create("one", "main", None)
    deleting = deleting_of(world)
    deleting.delete("one")
    real = datetime.now(UTC)
    monkeypatch.setattr(wait, "now", lambda: real + skew)
    pass_time(deleting, clock, 600)
    assert left_s(deleting) == [("one", DAY_S - 600)]
    restarted = deleting_of(world)
    clock.now_s = 0.0  # another boot
    restarted.sweep()
    assert left_s(restarted) == [("one", DAY_S - 600)]
    assert deleting.undelete("one", None).name == "one"


def test_time_before_a_second_deletion_does_not_count(world: World, clock: Clock) -> None:
    world.branches.create("one", "main", None)
    deleting = deleting_of(world)
    deleting.delete("one")
    pass_time(deleting, clock, 6000)
    deleting.undelete("one", None)
    deleting.delete("one")
    clock.now_s += DAY_S
    deleting.sweep()
    assert left_s(deleting) == [("one", DAY_S)]


def test_a_safekeeper_that_was_down_forgets_when_it_is_back(world: World) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    gone = world.branches.find("one").branch_id
    world.delete("one")
    deleting = deleting_of(world)
    away = world.safekeepers["safekeeper-2"]
    away.down = True
    deleting.delete("one", now=True)
    world.branches.create("one", "main", None)  # the name's tombstone is no more
    deleting.sweep()
    assert left_s(deleting) == []
    away.down = False
    assert holders(world, gone) == 1
    world.tending().tend_all()
    assert holders(world, gone) == 0
    deleting.sweep()
    assert len(list(world.store.list("branches/"))) == 2
    assert list(leftovers.find(world.store, world.generations, world.scratch)) == []


def test_a_parent_waits_for_its_deleted_children_and_they_for_it(world: World, clock: Clock) -> None:
    world.branches.create("parent", "main", None)
    point = Point(world.branches.find("parent").branch_id, Lsn(0x100))
    manifests.create_branch(world.store, "child", point, world.branches.find("parent").layers)
    deleting = deleting_of(world)
    deleting.delete("child")
    pass_time(deleting, clock, 6000)
    deleting.delete("parent")
    assert [one.parent for one in deleting.shown()] == ["main", "parent"]
    with pytest.raises(Conflict) as caught:
        deleting.undelete("child", None)
    assert caught.value.code == "parent_deleted"
    assert "branch undelete parent" in caught.value.hint
    deleting.undelete("parent", None)
    deleting.undelete("child", None)
    with pytest.raises(Conflict):
        deleting.delete("parent")
    deleting.delete("child")
    deleting.delete("parent")
    pass_time(deleting, clock, DAY_S + 600)
    assert left_s(deleting) == []
    assert len(list(world.store.list("branches/"))) == 1


def test_a_parent_that_goes_now_takes_its_deleted_children_along(world: World) -> None:
    world.branches.create("parent", "main", None)
    point = Point(world.branches.find("parent").branch_id, Lsn(0x100))
    manifests.create_branch(world.store, "child", point, world.branches.find("parent").layers)
    deleting = deleting_of(world)
    deleting.delete("child")
    deleting.delete("parent", now=True)
    assert left_s(deleting) == []
    assert len(list(world.store.list("branches/"))) == 1


def test_what_was_never_made_takes_no_deleted_branch_along(world: World) -> None:
    """As the undo of a request that failed."""
    world.branches.create("one", "main", None)
    deleting = deleting_of(world)
    deleting.delete("one")
    deleting.delete("one", now=True)
    assert [one.name for one in deleting.shown()] == ["one"]
    deleting.end("one")
    deleting.end("one")
    assert deleting.shown() == []


def test_one_whose_time_was_over_does_not_expire_again(world: World) -> None:
    world.branches.create("one", "main", None)
    deleting = deleting_of(world)
    for days, stays in ((-1, False), (1, True)):
        manifests.expire_branch(world.store, "one", wait.now() + timedelta(days=days))
        deleting.delete("one")
        assert (deleting.undelete("one", None).expires is not None) is stays


def test_over_http(server: tuple[Switch, str], world: World) -> None:
    switch, address = server
    switch.app = make_app(service_of(world), TOKEN, Disks(()))
    with PageserverClient(address, TOKEN) as client:
        client.create_branch("one", from_branch="main")
        client.delete_branch("one")
        [deleted] = client.deleted_branches()
        assert (deleted.name, deleted.parent, deleted.left_s) == ("one", "main", DAY_S)
        client.create_branch("one", from_branch="main")
        with pytest.raises(Conflict) as caught:
            client.undelete_branch("one")
        assert caught.value.code == "branch_exists"
        assert "--as" in caught.value.hint
        for _ in range(2):  # repeat is success
            assert client.undelete_branch("one", "other").name == "other"
        client.delete_branch("other", now=True)
        assert client.deleted_branches() == []
        client.delete_branch("one")
        client.end_deleted("one")
        with pytest.raises(NotFound):
            client.undelete_branch("one")
