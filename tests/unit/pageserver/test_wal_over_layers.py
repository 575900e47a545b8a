"""The WAL that a branch is opened with once redo jobs have put layers over those it began with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Point
from neon_compose.objectstore.stacks import append_layer
from neon_compose.pageserver.wal import Records, _View
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.walk import Stop, Walked
from tests.fakes_safekeeper import FakeSafekeepers
from tests.kills import replaying
from tests.unit.layer.pgdata import END, REDO, WAL_FILE
from tests.unit.pageserver.growth import add_delta
from tests.unit.pageserver.storage import World

COMMIT = replaying.WAL_END
ADDED = COMMIT.value - END.value  # bytes of the record after the layer's end


@pytest.fixture
def world(tmp_path: Path) -> World:
    """`main` has run, and a redo job made a layer of all that was committed."""
    world = World(tmp_path, safekeepers=FakeSafekeepers(1))
    world.up("main", "main", durability=Durability.QUORUM)
    main = manifests.read_branch(world.store, "main")
    world.waldump(replaying.WALDUMP)
    world.safekeepers["safekeeper-1"].arrive(main.branch_id, b"w" * ADDED)
    layer = new_id()
    folder = world.store.local_path("layers")
    add_delta(folder, main.tip, layer, COMMIT, ControlFile.parse(replaying.replayed(REDO)))
    append_layer(world.store, main.branch_id, main.layers, layer)
    return world


def main(world: World) -> Manifest:
    return manifests.read_branch(world.store, "main")


def test_what_opens_at_the_end_of_a_delta_gets_the_wal_it_replays(world: World) -> None:
    cut = world.branch_wal.cut(main(world), COMMIT)
    assert cut is not None
    segment = (cut.folder / WAL_FILE).read_bytes()
    inside = END.value % len(segment)
    assert segment[inside : inside + ADDED] == b"w" * ADDED


def test_a_child_of_it_gets_the_same_wal(world: World) -> None:
    child, _ = manifests.create_branch(
        world.store, "child", Point(main(world).branch_id, COMMIT), main(world).layers
    )
    cut = world.branch_wal.cut(child, COMMIT)
    assert cut is not None
    assert b"w" * ADDED in (cut.folder / WAL_FILE).read_bytes()


def test_a_safekeeper_that_is_new_to_it_gets_the_segment_up_to_the_branchs_start(world: World) -> None:
    before = world.branch_wal.head(main(world), world.branch_wal.start(main(world)))
    assert len(before) == END.value % replaying.SEGMENT
    assert before[-8:].strip(b"w")
    child, _ = manifests.create_branch(
        world.store, "child", Point(main(world).branch_id, COMMIT), main(world).layers
    )
    layer = new_id()
    folder = world.store.local_path("layers")
    add_delta(folder, child.tip, layer, Lsn(COMMIT.value + 8))
    append_layer(world.store, child.branch_id, child.layers, layer)
    child = manifests.read_branch(world.store, "child")
    assert world.branch_wal.head(child, world.branch_wal.start(child)) == before + b"w" * ADDED


def lsns(*pairs: tuple[int, int]) -> list[tuple[Lsn, Lsn]]:
    return [(Lsn(begin), Lsn(end)) for begin, end in pairs]


def test_only_what_is_lacking_is_fetched_and_what_no_layer_needs_never() -> None:
    view = _View()
    assert view.lacking(Lsn(40), Lsn(57)) == lsns((40, 57))
    view.fetched(Lsn(40), Lsn(57))
    assert view.lacking(Lsn(40), Lsn(57)) == []
    assert view.lacking(Lsn(50), Lsn(60)) == lsns((57, 60))
    assert view.lacking(Lsn(20), Lsn(60)) == lsns((20, 40), (57, 60))
    assert view.lacking(Lsn(20), Lsn(50)) == lsns((20, 40))
    assert view.lacking(Lsn(10), Lsn(30)) == lsns((10, 30))
    view.fetched(Lsn(10), Lsn(30))  # once, for a moment of the past
    assert (view.begin, view.have) == (Lsn(40), Lsn(57))
    view.fetched(Lsn(20), Lsn(60))
    assert (view.begin, view.have) == (Lsn(20), Lsn(60))
    assert view.lacking(Lsn(80), Lsn(90)) == lsns((80, 90))
    view.fetched(Lsn(80), Lsn(90))
    assert (view.begin, view.have) == (Lsn(80), Lsn(90))
    assert view.lacking(Lsn(20), Lsn(85)) == lsns((20, 80))


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=12))
def test_whatever_was_asked_for_is_there(asked: list[tuple[int, int]]) -> None:
    view, there = _View(), set[int]()
    for begin, size in asked:
        for start, stop in view.lacking(Lsn(begin), Lsn(begin + size)):
            there |= set(range(start.value, stop.value))
        assert set(range(begin, begin + size)) <= there
        view.fetched(Lsn(begin), Lsn(begin + size))
        assert set(range(view.begin.value, view.have.value)) <= there


def test_records_that_were_walked_before_are_not_forgotten() -> None:
    found = Records(Lsn(8)).then(Walked(Lsn(100), Stop.BOUND, "", Lsn(92), Lsn(40)))
    assert found == Records(Lsn(100), Lsn(92), Lsn(40))
    assert found.then(Walked(Lsn(100), Stop.BOUND)) == found  # nothing more
    assert found.then(Walked(Lsn(200), Stop.BOUND, "", Lsn(180))) == Records(Lsn(200), Lsn(180), Lsn(40))
