"""Snapshots by name. The order of writes is argued in manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from neon_compose import wait
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.ids import new_id
from neon_compose.objectstore import cas
from neon_compose.objectstore.documents import PinKind, Point, SnapshotRef, snapshot_ref_key
from neon_compose.objectstore.pins import bury, find_manifest, in_words, pin, unpin
from neon_compose.objectstore.store import ObjectStore


@dataclass(frozen=True)
class Snapshot:
    name: str
    ref: SnapshotRef


def create_snapshot(
    store: ObjectStore, name: str, point: Point, asked: str | None = None
) -> tuple[Snapshot, bool]:
    """Make the snapshot `name` of `point`; (it, whether it is new). Repeat is success.

    `asked` is what `snapshot_point` knows the wish by. Raises `Conflict` code "snapshot_exists" if the
    name is of another moment, `NotFound` if the branch is gone.
    """
    key = snapshot_ref_key(name)
    wanted = SnapshotRef(point.branch_id, point.lsn, wait.now(), new_id(), asked=asked)
    ref, is_new = cas.claim(store, key, wanted, lambda found: is_free(store, found))
    if (ref.branch_id, ref.lsn) != (point.branch_id, point.lsn):
        raise Conflict(
            f'snapshot "{name}" exists',
            detail=f"It is of {in_words(store, Point(ref.branch_id, ref.lsn))}.",
            hint="Take another name, or delete it first.",
            code="snapshot_exists",
        )
    try:
        pin(store, point, PinKind.SNAPSHOT, ref.snapshot_id)
    except NotFound:  # it can never be finished; don't leave the name taken
        bury(store, key, ref)
        raise
    if cas.find(store, key, SnapshotRef) != ref:
        unpin(store, ref.branch_id, ref.snapshot_id)
        raise Conflict(f'snapshot "{name}" was deleted while it was made', code="snapshot_deleted")
    return Snapshot(name, ref), is_new


def snapshot_point(store: ObjectStore, name: str, asked: str) -> Point | None:
    """What the snapshot `name` is of, or is about to, if it was `asked` for by these words; else None."""
    ref = cas.find(store, snapshot_ref_key(name), SnapshotRef)
    return None if ref is None or ref.deleted or ref.asked != asked else Point(ref.branch_id, ref.lsn)


def read_snapshot(store: ObjectStore, name: str) -> Snapshot:
    """The snapshot `name`. Raises `NotFound` code "no_snapshot"."""
    ref = cas.find(store, snapshot_ref_key(name), SnapshotRef)
    if ref is None or not _is_whole(store, ref):
        raise _no_snapshot(name)
    return Snapshot(name, ref)


def list_snapshots(store: ObjectStore) -> list[Snapshot]:
    """All snapshots, by name."""
    named = [
        (PurePosixPath(key).stem, cas.find(store, key, SnapshotRef)) for key in store.list("refs/snapshots/")
    ]
    return sorted(
        (Snapshot(name, ref) for name, ref in named if ref and _is_whole(store, ref)),
        key=lambda one: one.name,
    )


def delete_snapshot(store: ObjectStore, name: str) -> None:
    """Delete the snapshot `name`; branches made from it keep their own pins. Repeat is success.

    Raises `NotFound` if there never was one.
    """
    ref = cas.find(store, snapshot_ref_key(name), SnapshotRef)
    if ref is None:
        raise _no_snapshot(name)
    bury(store, snapshot_ref_key(name), ref)
    unpin(store, ref.branch_id, ref.snapshot_id)


def is_free(store: ObjectStore, ref: SnapshotRef) -> bool:
    """Whether the name can be had; removes what a buried one may have left."""
    if ref.deleted is None:
        return False
    unpin(store, ref.branch_id, ref.snapshot_id)
    return True


def _is_whole(store: ObjectStore, ref: SnapshotRef) -> bool:
    manifest = None if ref.deleted else find_manifest(store, ref.branch_id)
    return manifest is not None and any(one.id == ref.snapshot_id for one in manifest.pins)


def _no_snapshot(name: str) -> NotFound:
    return NotFound(
        f'snapshot "{name}" does not exist',
        hint="neon-compose snapshot list shows those there are.",
        code="no_snapshot",
    )
