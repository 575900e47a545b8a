"""Safekeepers that were away come back into the term, and hear what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.pageserver.tending import Tending
from tests.fakes_safekeeper import FakeSafekeepers
from tests.unit.pageserver.storage import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, safekeepers=FakeSafekeepers(3))


@pytest.fixture
def tending(world: World) -> Tending:
    return world.tending()


def up(world: World) -> Manifest:
    world.up("one", "one", from_branch="main", durability=Durability.QUORUM)
    return world.branches.find("one")


def test_a_safekeeper_that_missed_a_term_adopts_it_and_receives(world: World, tending: Tending) -> None:
    up(world)
    late = world.safekeepers["safekeeper-3"]
    late.down = True
    world.rebuild("one", "one")
    manifest = world.branches.find("one")
    late.down = False
    assert late.branch(manifest.branch_id).term == 1
    tending.tend_all()
    status = late.branch(manifest.branch_id)
    assert (status.term, status.receiver) == (2, "receiving")


def test_members_hear_the_commit_lsn(world: World, tending: Tending) -> None:
    manifest = up(world)
    first, second, _ = world.safekeepers.values()
    first.arrive(manifest.branch_id, b"x" * 80)
    end = second.arrive(manifest.branch_id, b"x" * 72)
    tending.tend_all()
    told = [keeper.branch(manifest.branch_id).committed for keeper in (first, second)]
    assert told == [str(end), str(end)]


def test_a_replacement_waits_for_the_next_term(world: World, tending: Tending) -> None:
    manifest = up(world)
    lost = world.safekeepers["safekeeper-2"]
    lost.lose_volume()
    tending.tend_all()
    assert manifest.branch_id not in lost.branches
    world.rebuild("one", "one")
    assert lost.branch(manifest.branch_id).term == 2
    register = world.branches.find("one").register
    assert register is not None
    assert register.seats[1] == lost.identity


def test_nothing_is_received_of_a_pg_that_let_nobody_in(world: World, tending: Tending) -> None:
    prepared = world.prepare("one", "one", from_branch="main", durability=Durability.QUORUM)
    world.computes.layout("one", prepared.generation, 5432, {})
    tending.tend_all()
    manifest = world.branches.find("one")
    states = {keeper.branch(manifest.branch_id).receiver for keeper in world.safekeepers.values()}
    assert states == {"stopped"}


def test_the_wal_of_a_deleted_branch_goes(world: World, tending: Tending) -> None:
    manifest = up(world)
    world.delete("one")
    tending.tend_all()
    assert all(manifest.branch_id in keeper.branches for keeper in world.safekeepers.values())
    manifests.delete_branch(world.store, "one")
    tending.tend_all()
    assert all(manifest.branch_id in keeper.branches for keeper in world.safekeepers.values())
    manifests.end_deleted(world.store, "one", lambda _: None)
    tending.tend_all()
    assert not any(manifest.branch_id in keeper.branches for keeper in world.safekeepers.values())
