"""What nothing needs is found in a storage and its work volume, and nothing that somebody needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import cas, manifests
from neon_compose.objectstore.documents import (
    BranchRef,
    Manifest,
    Pin,
    PinKind,
    Point,
    SnapshotRef,
    branch_ref_key,
    manifest_key,
    snapshot_ref_key,
)
from neon_compose.pageserver import leftovers
from tests.unit.pageserver.storage import World

ID = UUID(int=5)
THEN = datetime(2026, 1, 1, tzinfo=UTC)


def found(world: World) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in leftovers.find(world.store, world.generations, world.scratch)]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Computes on two branches, a third branch deleted with its compute, a snapshot."""
    world = World(tmp_path)
    world.up("a", "main")
    world.up("b", "one", moment="init")
    world.up("c", "two", moment="init")
    world.delete("c")
    manifests.delete_branch(world.store, "two")
    main = manifests.read_branch(world.store, "main")
    manifests.create_snapshot(world.store, "mark", Point(main.branch_id, Lsn(0x100)))
    assert world.settler.idle(60)
    return world


def test_a_storage_in_use_has_no_leftovers(world: World) -> None:
    assert found(world) == []


def point(world: World) -> Point:
    return Point(manifests.read_branch(world.store, "main").branch_id, Lsn(0x100))


def claimed_branch(world: World) -> None:
    cas.put_once(world.store, branch_ref_key("half"), BranchRef(ID, point(world)))


def claimed_snapshot(world: World) -> None:
    ref = SnapshotRef(point(world).branch_id, Lsn(0x100), THEN, ID)
    cas.put_once(world.store, snapshot_ref_key("half"), ref)


def fenced_branch(world: World) -> None:
    branch = manifests.read_branch(world.store, "one").branch_id
    change: Callable[[Manifest], Manifest] = lambda found: replace(found, writer=None, deleted=THEN)  # noqa: E731
    cas.update(world.store, manifest_key(branch), Manifest, change)
    world.generations.discard_all("b")


def buried_branch(world: World) -> None:
    cas.put_once(world.store, branch_ref_key("half"), BranchRef(ID, point(world), deleted=THEN))
    cas.put_once(world.store, manifest_key(ID), Manifest(ID, "half", point(world), (), THEN))


def nameless_manifest(world: World) -> None:
    cas.put_once(world.store, manifest_key(ID), Manifest(ID, "half", point(world), (), THEN))


def pin_of_nobody(world: World) -> None:
    pin = Pin(PinKind.BRANCH, ID, Lsn(0x100))
    change: Callable[[Manifest], Manifest] = lambda found: replace(found, pins=(*found.pins, pin))  # noqa: E731
    manifests.update_manifest(world.store, point(world).branch_id, change)


def unclaimed_data(world: World) -> None:
    world.claims.release("b")


def touch(*parts: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    return make


@pytest.mark.parametrize(
    ("leave", "kind", "name"),
    [
        (claimed_branch, "branch", "half"),
        (claimed_snapshot, "snapshot", "half"),
        (fenced_branch, "branch", "one"),
        (buried_branch, "branch", "half"),
        (nameless_manifest, "manifest", str(ID)),
        (pin_of_nobody, "pin", f"main: {ID}"),
        (unclaimed_data, "compute data", "b/"),
        (touch("storage", "layers", f"{ID}.pages"), "layer", f"layers/{ID}.pages"),
        (touch("storage", "layers", ".x.0123.aside"), "file", "layers/.x.0123.aside"),
        (touch("storage", ".storage.json.0123.aside"), "file", ".storage.json.0123.aside"),
        (touch("work", "maps", ".x.map.0123.aside"), "file", "maps/.x.map.0123.aside"),
        (touch("scratch", "spool-1", "dump"), "scratch", "spool-1"),
        (touch("work", "pg", "nobody", "x"), "compute data", "nobody"),
        (touch("work", "pg", "d", "0" * 12, "x"), "compute data", f"d/{'0' * 12}"),
    ],
)
def test_what_nothing_needs_is_found(
    world: World, leave: Callable[[World], None], kind: str, name: str
) -> None:
    leave(world)
    [(kind_found, name_found)] = found(world)
    assert (kind_found, name_found[: len(name)]) == (kind, name)


def test_a_storage_that_was_never_finished_is_all_left_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.store.root / "storage.json").unlink()
    kinds = {kind for kind, _ in found(world)}
    assert kinds == {"file"}
    assert len(found(world)) >= 4
