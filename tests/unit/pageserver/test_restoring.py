"""Restoring a branch in place, with the computes and data directories that are on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neon_compose.compute.layout import nobody_else
from neon_compose.errors import Conflict, NeonError, NotFound
from neon_compose.model.lsn import Lsn
from neon_compose.model.names import Name
from neon_compose.model.states import Durability
from neon_compose.objectstore.documents import RESTORES, Manifest
from neon_compose.wire.pageserver import RestoreRequest
from tests.fakes_safekeeper import FakeSafekeepers
from tests.unit.pageserver.fakewal import Row
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_app import service_of


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, safekeepers=FakeSafekeepers(1))


def refused(kind: type[NeonError], code: str, work: Callable[[], object]) -> NeonError:
    with pytest.raises(kind) as caught:
        work()
    assert caught.value.code == code
    return caught.value


def shop(world: World, durability: Durability = Durability.QUORUM) -> tuple[Manifest, Lsn, Lsn]:
    """A branch whose pg has written; where it starts, and where it ends."""
    world.up("shop", "shop", from_branch="main", durability=durability)
    manifest = world.branches.find("shop")
    assert manifest.parent is not None
    start = manifest.parent.lsn
    end = Lsn(start.value + 256)
    world.committed.rows[manifest.branch_id] = [Row(start, start), Row(start, end)]
    world.commit("shop")
    return manifest, start, end


def test_a_pg_starts_anew_where_its_branch_was_and_the_old_state_can_be_opened(world: World) -> None:
    old, start, end = shop(world)
    done = world.restoring.restore("shop", start, "before")
    assert (done.branch.name, done.before.name) == ("shop", "before")
    assert world.generations.ids("shop") == []
    world.up("shop", "shop", durability=Durability.QUORUM)
    now = world.branches.find("shop")
    assert now.branch_id != old.branch_id
    assert now.parent is not None
    assert (now.parent.branch_id, now.parent.lsn) == (old.branch_id, start)
    assert now.writer is not None
    assert now.writer.pg == "shop"
    assert world.moments.start("before", None).point.lsn == end
    world.up("look", "before", durability=Durability.QUORUM)
    assert world.branches.find("before").branch_id == old.branch_id


def test_a_reset_goes_to_the_end_of_what_the_branch_was_made_from(world: World) -> None:
    _, start, _ = shop(world)
    world.restoring.restore("shop", start, "before")
    done = world.restoring.restore("shop", None, "again")
    main = world.branches.find("main")
    assert done.branch.parent is not None
    assert done.branch.parent.branch_id == main.branch_id
    refused(Conflict, "no_parent", lambda: world.restoring.restore("main", None))


def test_a_repeat_makes_nothing_new_unless_a_pg_came_to_it(world: World) -> None:
    _, start, _ = shop(world)
    first = world.restoring.restore("shop", start, "before")
    assert world.restoring.restore("shop", start, "before") == first
    assert world.restoring.restore("shop", Name("init"), "earlier").branch.parent is not None
    world.restoring.restore("shop", start, "third")
    world.up("shop", "shop", durability=Durability.QUORUM)
    refused(Conflict, "branch_exists", lambda: world.restoring.restore("shop", start, "third"))


def test_a_check_says_that_the_name_to_keep_is_taken_unless_it_was_kept_under_it(world: World) -> None:
    _, start, _ = shop(world)
    world.restoring.check("shop", start, "before")
    refused(Conflict, "branch_exists", lambda: world.restoring.check("shop", start, "main"))
    world.restoring.restore("shop", start, "before")
    world.restoring.check("shop", start, "before")


def test_nothing_is_restored_under_a_server(world: World) -> None:
    old, start, _ = shop(world)
    assert old.writer is not None
    paths = world.generations.paths("shop", old.writer.generation)
    world.restoring.check("shop", start)
    with nobody_else(paths, "shop"):
        world.restoring.check("shop", start)
        refused(Conflict, "running", lambda: world.restoring.restore("shop", start))
    assert world.branches.find("shop").branch_id == old.branch_id


def test_writes_in_the_data_directory_alone_are_not_given_up(world: World) -> None:
    old, start, _ = shop(world, Durability.LOCAL)
    for call in (world.restoring.check, world.restoring.restore):
        refused(Conflict, "only_copy", lambda call=call: call("shop", start))  # type: ignore[misc]
    assert world.branches.find("shop").branch_id == old.branch_id
    assert world.generations.ids("shop") != []


def test_a_moment_that_is_none_changes_nothing(world: World) -> None:
    old, _, end = shop(world)
    beyond = Lsn(end.value + 8)
    refused(NotFound, "no_such_moment", lambda: world.restoring.restore("shop", beyond))
    refused(NotFound, "no_branch", lambda: world.restoring.restore("nobody", beyond))
    assert world.branches.find("shop").branch_id == old.branch_id


def test_a_restore_that_was_cut_off_after_its_moment_is_finished_with_the_data_directory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, start, _ = shop(world)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(world.restoring), "_discard", cut_off)
        with pytest.raises(KeyboardInterrupt):
            world.restoring.restore("shop", start, "before")
    assert list(world.store.list(RESTORES)) == ["restores/shop.json"]
    world.start()
    world.restoring.settle_all()
    assert list(world.store.list(RESTORES)) == []
    assert world.branches.find("before").branch_id == old.branch_id
    assert world.generations.ids("shop") == []
    world.up("shop", "shop", durability=Durability.QUORUM)


def test_it_is_asked_for_in_words(world: World) -> None:
    _, start, _ = shop(world)
    service = service_of(world)
    assert service.restore_branch("shop", RestoreRequest(moment=str(start), check=True)).kept is None
    done = service.restore_branch("shop", RestoreRequest(moment=str(start)))
    assert done.start_lsn == str(start)
    assert done.kept is not None
    assert done.kept.startswith("shop-before-20")
    again = service.restore_branch("shop", RestoreRequest(keep="once"))
    assert again.kept == "once"
