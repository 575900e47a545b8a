"""Starting a compute with safekeepers: its term, where it opens, what is a cache; over fake safekeepers."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose import wait
from neon_compose.compute.command import GATE_HBA
from neon_compose.compute.layout import nobody_else
from neon_compose.errors import Conflict, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.model.states import Durability
from neon_compose.objectstore.documents import Manifest
from neon_compose.terms.names import standby_name
from tests.fakes_safekeeper import FakeSafekeepers
from tests.unit.pageserver.storage import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, safekeepers=FakeSafekeepers(1))


def branch(world: World, name: str = "one") -> Manifest:
    return world.branches.find(name)


def term(world: World) -> int:
    register = branch(world).register
    assert register is not None
    return register.claimed.term


def test_a_new_pg_writes_under_the_first_term(world: World) -> None:
    prepared = world.prepare("one", "one", from_branch="main", durability=Durability.QUORUM)
    manifest = branch(world)
    keeper = world.safekeepers["safekeeper-1"]
    name = standby_name(manifest.branch_id, 1, keeper.identity)
    for setting in (
        f"neon.branch={manifest.branch_id}",
        "neon.term=1",
        f"synchronous_standby_names=ANY 1 ({name})",
    ):
        assert prepared.command[prepared.command.index(setting) - 1] == "-c"
    assert manifest.durable


def test_a_new_pg_is_received_from_before_clients_get_in(world: World) -> None:
    generation = world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    manifest, keeper = branch(world), world.safekeepers["safekeeper-1"]
    status = keeper.branch(manifest.branch_id)
    assert (status.term, status.receiver, status.flushed) == (
        1,
        "receiving",
        str(manifest.parent and manifest.parent.lsn),
    )
    request = keeper.branches[manifest.branch_id].receiver
    assert request is not None
    assert (request.host, request.port) == ("10.0.0.9", 5432)
    record = world.generations.read("one", generation).record
    assert record is not None
    assert record.term == 1


def test_safekeepers_make_ready_as_soon_as_it_is_up(world: World) -> None:
    prepared = world.prepare("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.computes.layout("one", prepared.generation, 5432, {})
    pid_file = world.generations.paths("one", prepared.generation).data / "postmaster.pid"
    pid_file.write_text("\n" * 7 + "ready   \n")
    keeper = world.safekeepers["safekeeper-1"]
    world.standbys = standby_name(branch(world).branch_id, 1, keeper.identity)
    keeper.calls.clear()
    world.computes.open("one", prepared.generation, "10.0.0.9", 5432, 30, world.doc)
    wait.until("both", lambda: {"expect", "receive"} <= set(keeper.calls), wait.Deadline.after(10))


def test_safekeepers_get_in_while_the_gate_is_shut(world: World) -> None:
    prepared = world.prepare("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.computes.layout("one", prepared.generation, 5432, {})
    hba = (world.generations.paths("one", prepared.generation).data / "pg_hba.conf").read_text()
    assert hba == GATE_HBA + "".join(
        f"host {what} neon_admin 10.0.0.1/32 scram-sha-256\n" for what in ("all", "replication")
    )


def test_the_same_data_directory_goes_on_in_its_term(world: World) -> None:
    first = world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    assert world.up("one", "one", durability=Durability.QUORUM) == first
    assert term(world) == 1


def test_a_lost_data_directory_is_laid_out_again_in_a_new_term(world: World) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.lose("one")
    world.up("one", "one", durability=Durability.QUORUM)
    assert term(world) == 2
    assert world.safekeepers["safekeeper-1"].branch(branch(world).branch_id).term == 2


def test_under_local_a_lost_data_directory_is_an_error(world: World) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.LOCAL)
    world.lose("one")
    with pytest.raises(Conflict) as caught:
        world.prepare("one", "one", durability=Durability.QUORUM)
    assert caught.value.code == "data_lost"


def test_a_start_under_local_makes_the_data_directory_the_only_copy(world: World) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    assert branch(world).durable
    world.up("one", "one", durability=Durability.LOCAL)
    assert not branch(world).durable
    world.up("one", "one", durability=Durability.QUORUM)  # safekeepers caught up before the gate opened
    assert branch(world).durable


def test_a_doubtful_data_directory_is_laid_out_again_if_safekeepers_have_its_writes(world: World) -> None:
    world.disk_works = False  # no marker comes
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.commit("one")
    world.boot = "boot-2"
    world.start()
    prepared = world.prepare("one", "one", durability=Durability.QUORUM)
    assert prepared.needs_layout
    assert term(world) == 2


def test_a_pg_whose_writes_safekeepers_have_is_destroyed_without_asking(world: World) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.commit("one")
    world.delete("one")
    assert branch(world).writer is None


def test_a_pg_that_ran_before_there_were_safekeepers_stays_as_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    generation = world.up("one", "one", from_branch="main")
    world.commit("one")
    world.safekeepers = FakeSafekeepers(1)
    world.start()
    prepared = world.prepare("one", "one", durability=Durability.QUORUM)
    assert (prepared.generation, prepared.needs_layout) == (generation, False)
    assert not any("synchronous_standby_names=ANY" in word for word in prepared.command)


def test_without_a_majority_nothing_starts(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    for host in ("safekeeper-1", "safekeeper-3"):
        world.safekeepers[host].down = True
    with pytest.raises(Unavailable, match="1 of 3 safekeepers"):
        world.prepare("one", "one", from_branch="main", durability=Durability.QUORUM)


def test_two_of_three_are_enough(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    world.safekeepers["safekeeper-2"].down = True
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    manifest = branch(world)
    assert world.quorum.commit(manifest) == (manifest.parent and manifest.parent.lsn)
    assert len(world.quorum.standbys(manifest)) == 2


def test_what_one_safekeeper_lost_another_fills_in_the_next_term(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    manifest = branch(world)
    for keeper in world.safekeepers.values():
        end = keeper.arrive(manifest.branch_id, b"x" * 800)
    world.safekeepers["safekeeper-1"].lose_volume()
    world.start()
    world.lose("one")
    prepared = world.prepare("one", "one", durability=Durability.QUORUM)
    world.quorum.decide(branch(world))
    assert prepared.needs_layout
    assert term(world) == 2
    assert {
        Lsn.parse(keeper.branch(manifest.branch_id).flushed) for keeper in world.safekeepers.values()
    } == {end}


def test_a_branch_with_wal_is_not_opened_by_a_stack_without_safekeepers(world: World) -> None:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.lose("one")
    world.safekeepers = FakeSafekeepers(0)
    world.start()
    with pytest.raises(Unavailable) as caught:
        world.prepare("one", "one")
    assert caught.value.code == "no_safekeepers"


def test_a_data_directory_that_is_a_cache_can_go_and_the_next_start_makes_it_anew(world: World) -> None:
    generation = world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    for _ in range(2):
        world.computes.discard_cache(world.claims, "one")
    assert world.generations.ids("one") == []
    assert world.claims.held_by("one") == [branch(world)]
    assert world.up("one", "one", durability=Durability.QUORUM) != generation


def test_a_data_directory_that_may_be_the_only_copy_stays(world: World) -> None:
    generation = world.up("one", "one", from_branch="main", durability=Durability.LOCAL)
    with pytest.raises(Conflict) as caught:
        world.computes.discard_cache(world.claims, "one")
    assert caught.value.code == "only_copy"
    assert world.generations.ids("one") == [generation]


def test_a_data_directory_that_a_server_runs_on_stays(world: World) -> None:
    generation = world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    paths = world.generations.paths("one", generation)
    with nobody_else(paths, "one"), pytest.raises(Conflict) as caught:
        world.computes.discard_cache(world.claims, "one")
    assert caught.value.code == "running"
    assert world.generations.ids("one") == [generation]


def test_what_is_committed_is_known_while_another_start_is_under_way(world: World) -> None:
    """A branch of it may be asked for right then."""
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    keeper, before = world.safekeepers["safekeeper-1"], branch(world)
    end = keeper.arrive(before.branch_id, b"x" * 800)
    world.lose("one")
    world.prepare("one", "one", durability=Durability.QUORUM)
    assert world.quorum.commit(branch(world)) == end  # claimed
    keeper.promise(before.branch_id, 2)
    assert world.quorum.commit(branch(world)) == end  # promised
    keeper.adopt = lambda *_: keeper.branch(before.branch_id)  # type: ignore[method-assign]
    world.quorum.decide(branch(world))
    assert term(world) == 2
    assert world.quorum.commit(branch(world)) == end  # decided


def test_what_too_few_safekeepers_say_is_no_commit_lsn(tmp_path: Path) -> None:
    world = World(tmp_path, safekeepers=FakeSafekeepers(3))
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    manifest = branch(world)
    ends = [
        keeper.arrive(manifest.branch_id, b"x" * size)
        for keeper, size in zip(world.safekeepers.values(), (80, 160, 240), strict=True)
    ]
    assert world.quorum.commit(manifest) == ends[1]
    world.safekeepers["safekeeper-1"].down = True
    assert world.quorum.commit(manifest) == ends[1]
    world.safekeepers["safekeeper-2"].down = True
    assert world.quorum.commit(manifest) is None
