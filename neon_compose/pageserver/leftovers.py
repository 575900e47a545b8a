"""What lies in a storage and its work volume and nothing needs: what is left of work that was cut off.

Only looks. What a running request is making looks the same, so who asks must know that none runs. Names
that were deleted keep their tombstone for ever (objectstore.manifests); that alone is no leftover.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from uuid import UUID

from neon_compose import durable
from neon_compose.objectstore import cas
from neon_compose.objectstore.documents import (
    REFRESH_KEY,
    RESTORES,
    STORAGE_KEY,
    BranchRef,
    Manifest,
    PinKind,
    SnapshotRef,
    StorageDoc,
    Writer,
)
from neon_compose.objectstore.local import LocalStore
from neon_compose.objectstore.manifests import is_refreshing
from neon_compose.pageserver.generations import Generations
from neon_compose.wire.pageserver import Leftover

_TREE = ("refs/", "branches/", "layers/", "wal/")


def find(
    store: LocalStore, generations: Generations, scratch: Path, known: Sequence[UUID] = ()
) -> Iterator[Leftover]:
    """All of it, in the order of the folders; but for the layers `known` to be in the making, or to go."""
    yield from _asides(store.root, store.root)
    if cas.find(store, STORAGE_KEY, StorageDoc) is None:
        for key in (key for folder in _TREE for key in store.list(folder)):
            yield Leftover(kind="file", name=key, why="a storage that was never finished")
        manifests: dict[UUID, Manifest] = {}
    else:
        manifests = _manifests(store)
        yield from _of_names(store, manifests)
        yield from _layers(store, manifests, known)
        if is_refreshing(store):
            yield Leftover(kind="file", name=REFRESH_KEY, why="a refresh that was cut off")
        for key in store.list(RESTORES):
            yield Leftover(kind="file", name=key, why="a restore that was cut off")
    yield from _of_work(generations, scratch, manifests)


def _asides(root: Path, folder: Path) -> Iterator[Leftover]:
    for below in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir())):
        for path in durable.abandoned(below):
            yield Leftover(kind="file", name=str(path.relative_to(root)), why="its writer died")


def _manifests(store: LocalStore) -> dict[UUID, Manifest]:
    found = (cas.find(store, key, Manifest) for key in store.list("branches/"))
    return {one.branch_id: one for one in found if one is not None}


# ---- names


def _of_names(store: LocalStore, manifests: dict[UUID, Manifest]) -> Iterator[Leftover]:
    branches = {_name(key): cas.find(store, key, BranchRef) for key in store.list("refs/branches/")}
    snapshots = {_name(key): cas.find(store, key, SnapshotRef) for key in store.list("refs/snapshots/")}
    for name, branch in branches.items():
        why = _unfinished(branch, manifests) if branch else None
        if why is not None:
            yield Leftover(kind="branch", name=name, why=why)
    for name, snapshot in snapshots.items():
        if snapshot and snapshot.deleted is None and not _pinned(snapshot, manifests):
            yield Leftover(kind="snapshot", name=name, why="its name is claimed, but it was never made")
    named = {one.branch_id for one in branches.values() if one}
    named |= {one.successor for one in manifests.values() if one.successor}
    waiting = {one.branch_id for one in manifests.values() if one.kept is not None}
    holders = {
        PinKind.BRANCH: waiting | {one.branch_id for one in branches.values() if one and one.deleted is None},
        PinKind.SNAPSHOT: {one.snapshot_id for one in snapshots.values() if one and one.deleted is None},
    }
    for manifest in manifests.values():
        if manifest.branch_id not in named and not _waits(manifest):
            yield Leftover(kind="manifest", name=str(manifest.branch_id), why="no branch has it")
        for pin in manifest.pins:
            if pin.id not in holders[pin.kind]:
                why = f"its {pin.kind} does not exist"
                yield Leftover(kind="pin", name=f"{manifest.name}: {pin.id}", why=why)


def _unfinished(ref: BranchRef, manifests: dict[UUID, Manifest]) -> str | None:
    manifest = manifests.get(ref.branch_id)
    if ref.deleted is not None:
        return "its deletion was cut off" if manifest is not None and not _waits(manifest) else None
    if manifest is None:
        return "its name is claimed, but it was never made"
    return "its deletion was cut off" if manifest.deleted else None


def _waits(manifest: Manifest) -> bool:
    """It is deleted, and to be taken back, or to be forgotten by safekeepers."""
    return manifest.kept is not None or (manifest.gone and manifest.register is not None)


def _pinned(ref: SnapshotRef, manifests: dict[UUID, Manifest]) -> bool:
    manifest = manifests.get(ref.branch_id)
    return manifest is not None and any(pin.id == ref.snapshot_id for pin in manifest.pins)


def _layers(store: LocalStore, manifests: dict[UUID, Manifest], known: Sequence[UUID]) -> Iterator[Leftover]:
    needed = {str(layer) for manifest in manifests.values() for layer in manifest.layers}
    needed |= set(map(str, known))
    for key in store.list("layers/"):
        if PurePosixPath(key).name.partition(".")[0] not in needed:
            yield Leftover(kind="layer", name=key, why="no branch needs it")


def _name(key: str) -> str:
    return PurePosixPath(key).stem


# ---- the work volume


def _of_work(generations: Generations, scratch: Path, manifests: dict[UUID, Manifest]) -> Iterator[Leftover]:
    work = generations.root.parent
    for path in sorted(scratch.iterdir()):
        yield Leftover(kind="scratch", name=path.name, why="no request works on it")
    for path in durable.abandoned(work / "maps"):
        yield Leftover(kind="file", name=str(path.relative_to(work)), why="its writer died")
    writers = {one.writer for one in manifests.values() if one.writer and not one.deleted}
    for pg in generations.pgs():
        ids = generations.ids(pg)
        if not ids:
            yield Leftover(kind="compute data", name=pg, why="an empty folder")
        for path in generations.half_written(pg):
            yield Leftover(kind="file", name=str(path.relative_to(work)), why="its writer died")
        for generation in ids:
            if Writer(pg, generation) not in writers:
                yield Leftover(kind="compute data", name=f"{pg}/{generation}", why="no branch names it")
