"""Committed WAL goes to the archive, and a sealed branch does without its safekeepers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from neon_compose.compute.layout import nobody_else
from neon_compose.errors import Conflict, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.pageserver.recovering import Recovering
from tests.fakes_safekeeper import FakeSafekeepers
from tests.kills import replaying
from tests.unit.layer.pgdata import END, WAL_FILE
from tests.unit.pageserver.storage import World

COMMIT = replaying.WAL_END
ADDED = COMMIT.value - END.value
SIZE = replaying.SEGMENT


@pytest.fixture
def world(tmp_path: Path) -> World:
    """`main` has committed something, and its compute has ended."""
    world = World(tmp_path, safekeepers=FakeSafekeepers(1))
    up(world)
    world.waldump(replaying.WALDUMP)
    world.safekeepers["safekeeper-1"].arrive(main(world).branch_id, b"w" * ADDED)
    noticed(world)
    return world


def noticed(world: World) -> None:
    """The receivers have ended, as their primary did."""
    for keeper in world.safekeepers.values():
        keeper.receives = False


def main(world: World) -> Manifest:
    return manifests.read_branch(world.store, "main")


def up(world: World) -> None:
    world.up("main", "main", durability=Durability.QUORUM)


def lay_out(world: World) -> None:
    """A start up to where Postgres replays WAL, which there is none to do here."""
    prepared = world.prepare("main", "main", durability=Durability.QUORUM)
    world.computes.layout("main", prepared.generation, 5432, {})


def tend(world: World) -> None:
    world.tending().tend_all()


def archive(world: World, rest_s: float = 0.0) -> None:
    tend(world)
    world.archiving.look(rest_s)


@contextmanager
def running(world: World) -> Iterator[None]:
    [generation] = world.generations.of("main")
    with nobody_else(generation.paths, "main"):
        yield


def others(world: World, count: int) -> None:
    """The stack is made anew: other safekeepers, and nothing of the computes."""
    world.lose("main")
    world.safekeepers = FakeSafekeepers(count)
    world.start()


def test_a_begun_segment_is_archived_once_nothing_more_comes(world: World) -> None:
    archive(world, rest_s=60.0)
    assert world.archive.upto(main(world), SIZE) is None
    archive(world)
    assert world.archive.upto(main(world), SIZE) == COMMIT
    given = b"".join(world.archive.read(main(world), SIZE, END, COMMIT))
    assert given == b"w" * ADDED
    assert main(world).rests_at == COMMIT


def test_a_branch_whose_compute_runs_is_archived_and_not_sealed(world: World) -> None:
    with running(world):
        archive(world)
    assert world.archive.upto(main(world), SIZE) == COMMIT
    assert main(world).sealed is None


def test_one_that_is_about_to_run_is_not_sealed(world: World) -> None:
    world.prepare("main", "main", durability=Durability.QUORUM)
    archive(world)
    assert main(world).sealed is None


def test_what_was_committed_since_it_was_heard_of_is_no_end(world: World) -> None:
    tend(world)
    world.safekeepers["safekeeper-1"].arrive(main(world).branch_id, b"x" * 8)
    world.archiving.look(0.0)
    assert main(world).sealed is None


def test_what_a_receiver_may_have_that_is_still_to_end_is_waited_for(world: World) -> None:
    keeper = world.safekeepers["safekeeper-1"]
    keeper.receives = True
    tend(world)
    assert not world.archiving.look(0.0)
    assert main(world).sealed is None
    keeper.receives = False
    assert world.archiving.look(0.0)
    assert main(world).rests_at == COMMIT


def test_the_last_look_takes_in_what_came_after_it_was_heard_of(world: World) -> None:
    keeper = world.safekeepers["safekeeper-1"]
    found = keeper.branches[main(world).branch_id]
    found.member = replace(found.member, flushed=Lsn(END.value + 8))
    tend(world)
    found.member = replace(found.member, flushed=COMMIT)
    world.archiving.finish()
    assert main(world).rests_at == COMMIT


def test_what_only_one_of_three_has_is_no_end(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    up(world)
    world.waldump(replaying.WALDUMP)
    noticed(world)
    first, second, _ = world.safekeepers.values()
    first.arrive(main(world).branch_id, b"w" * ADDED)
    archive(world)
    assert main(world).sealed is None
    second.arrive(main(world).branch_id, b"w" * ADDED)
    archive(world)
    assert main(world).rests_at == COMMIT


def test_a_start_takes_the_seal_back(world: World) -> None:
    archive(world)
    up(world)
    assert main(world).sealed is None


def test_wal_that_comes_all_the_same_takes_the_seal_back(world: World) -> None:
    archive(world)
    manifest = main(world)
    world.safekeepers["safekeeper-1"].arrive(manifest.branch_id, b"w" * 4000)
    line = replaying._LINE.format(length=4000, start=COMMIT)
    world.waldump(f"cat <<'.'\n{line}\n.")
    tend(world)
    world.archiving.look(60.0)
    assert main(world).sealed is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_sealed_branch_is_opened_by_other_safekeepers(world: World, count: int) -> None:
    archive(world)
    others(world, count)
    assert world.quorum.commit(main(world)) == COMMIT
    lay_out(world)
    manifest = main(world)
    assert manifest.register is not None
    assert len(manifest.register.seats) == count
    last = manifest.register.decided.history.last
    assert (last.term, last.start) == (3, COMMIT)  # nobody wrote under 2
    assert manifest.register.decided.history.starts[0].term == 1
    assert manifest.rests_at is None
    for keeper in world.safekeepers.values():
        status = keeper.branch(manifest.branch_id)
        assert (status.term, status.flushed) == (3, str(COMMIT))
    cut = world.branch_wal.cut(manifest, COMMIT)
    assert cut is not None
    inside = END.value % SIZE
    assert (cut.folder / WAL_FILE).read_bytes()[inside : inside + ADDED] == b"w" * ADDED


def test_a_branch_that_is_not_sealed_waits_for_its_safekeepers(world: World) -> None:
    others(world, 1)
    with pytest.raises(Unavailable) as caught:
        up(world)
    assert caught.value.code == "no_majority"


def test_safekeepers_that_are_there_keep_their_seats_though_it_is_sealed(world: World) -> None:
    before = world.safekeepers["safekeeper-1"].identity
    archive(world)
    world.lose("main")
    lay_out(world)
    manifest = main(world)
    assert manifest.register is not None
    assert manifest.register.seats == (before,)
    assert "enrol" not in world.safekeepers["safekeeper-1"].calls[-8:]


def test_a_safekeeper_that_comes_back_gives_its_old_wal_up(world: World) -> None:
    """It was down as the branch was opened elsewhere, and had WAL that was never committed."""
    archive(world)
    old = world.safekeepers["safekeeper-1"]
    others(world, 1)
    lay_out(world)
    moved = world.safekeepers["safekeeper-1"]
    old_branch = old.branches[main(world).branch_id]
    old_branch.member = replace(old_branch.member, flushed=Lsn(END.value + 8))
    world.waldump(replaying.WALDUMP)
    world.lose("main")
    world.start()  # nothing is about to run any more
    archive(world)
    assert main(world).rests_at == COMMIT
    world.safekeepers["safekeeper-1"] = old
    world.start()
    lay_out(world)
    status = old.branch(main(world).branch_id)
    assert (status.term, status.flushed, status.oldest) == (5, str(COMMIT), str(COMMIT))
    assert moved.identity != old.identity


def test_who_lacks_what_the_others_trimmed_is_given_where_they_begin(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    up(world)
    world.waldump(replaying.WALDUMP)
    first, second, third = world.safekeepers.values()
    for keeper in (first, second):
        found = keeper.branches[main(world).branch_id]
        keeper.arrive(main(world).branch_id, b"w" * ADDED)
        found.member = replace(found.member, oldest=Lsn(END.value + 4), committed=Lsn(END.value + 4))
    before = third.calls.count("enrol")
    tend(world)
    assert third.calls.count("enrol") == before + 1


def recovering(world: World) -> Recovering:
    return Recovering(world.store, world.quorum, world.seeds, world.computes.resting)


def test_a_branch_whose_safekeepers_are_lost_goes_on_from_the_archive(world: World) -> None:
    with running(world):
        archive(world)
    assert main(world).sealed is None
    others(world, 1)
    with pytest.raises(Unavailable):  # it takes the seat, and has no say in it
        up(world)
    world.start()
    with pytest.raises(Conflict) as caught:
        recovering(world).recover("main", accept_loss=False)
    assert caught.value.code == "not_confirmed"
    assert str(COMMIT) in caught.value.message
    for _ in range(2):
        assert recovering(world).recover("main", accept_loss=True).rests_at == COMMIT
    lay_out(world)
    status = world.safekeepers["safekeeper-1"].branch(main(world).branch_id)
    assert (status.flushed, status.counts) == (str(COMMIT), True)
    assert world.branch_wal.cut(main(world), COMMIT) is not None


def test_without_an_archive_it_goes_on_where_it_began(world: World) -> None:
    others(world, 3)
    manifest = recovering(world).recover("main", accept_loss=True)
    assert manifest.rests_at == END
    lay_out(world)
    assert main(world).rests_at is None


def test_what_one_of_three_still_has_is_not_given_up(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    up(world)
    world.waldump(replaying.WALDUMP)
    first, second, third = world.safekeepers.values()
    for keeper in (first, second):
        keeper.arrive(main(world).branch_id, b"w" * ADDED)
    second.down = third.down = True
    assert recovering(world).recover("main", accept_loss=True).rests_at == COMMIT
    assert world.archive.upto(main(world), SIZE) == COMMIT


def test_what_is_not_lost_or_runs_is_not_recovered(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        recovering(world).recover("main", accept_loss=True)
    assert caught.value.code == "not_lost"
    world.safekeepers["safekeeper-1"].lose_volume()
    world.start()
    with running(world), pytest.raises(Conflict) as caught:
        recovering(world).recover("main", accept_loss=True)
    assert caught.value.code == "running"
    assert main(world).sealed is None
