"""The storage itself: storage.json, and what a new one begins with. Argued in manifests."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from neon_compose.errors import Conflict, NotFound
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import cas
from neon_compose.objectstore.branches import MAIN, read_branch
from neon_compose.objectstore.documents import (
    STORAGE_KEY,
    BranchRef,
    Initial,
    Manifest,
    Pin,
    PinKind,
    SnapshotRef,
    StorageDoc,
    branch_ref_key,
    manifest_key,
    snapshot_ref_key,
)
from neon_compose.objectstore.store import ObjectStore


def create_storage(
    store: ObjectStore, doc: StorageDoc, *, layers: tuple[UUID, ...], snapshot: str, lsn: Lsn
) -> Manifest:
    """Make the storage `doc` with the branch `main` on `layers` and `snapshot` at `lsn`; returns main.

    The layers are there and durable already. Repeat with the same storage id is success. Raises
    `Conflict` code "storage_exists" if another storage is there.
    """
    if cas.find(store, STORAGE_KEY, StorageDoc) is None:
        _put_storage(store, doc, layers, Initial(new_id(), snapshot, new_id(), lsn))
    found = read_storage(store)
    if found.storage_id != doc.storage_id:
        raise Conflict(
            "another storage is here already",
            detail=f"Its id is {found.storage_id}, made {found.created:%Y-%m-%d %H:%M} UTC.",
            code="storage_exists",
        )
    return read_branch(store, MAIN)


def read_storage(store: ObjectStore) -> StorageDoc:
    """The storage's document; finishes a creation that was interrupted.

    Raises `NotFound` code "no_storage", `Conflict` code "newer_format", `Corrupt`.
    """
    doc = cas.find(store, STORAGE_KEY, StorageDoc)
    if doc is None:
        raise NotFound("there is no storage here", detail="It has no storage.json.", code="no_storage")
    return doc if doc.initial is None else _name_initial(store, doc, doc.initial)


def discard_unborn(store: ObjectStore) -> list[str]:
    """Remove what creations that never came to storage.json left, and return its keys.

    Only for the one who holds the right to create (LocalStore.creating): a living maker's layers look
    the same. Raises `Conflict` code "storage_exists" if there is a storage.
    """
    if cas.find(store, STORAGE_KEY, StorageDoc) is not None:
        raise Conflict("a storage is here", code="storage_exists")
    keys = [key for folder in ("refs/", "branches/", "layers/", "wal/") for key in store.list(folder)]
    for key in keys:
        store.delete(key)
    return keys


def _put_storage(store: ObjectStore, doc: StorageDoc, layers: tuple[UUID, ...], initial: Initial) -> None:
    pin = Pin(PinKind.SNAPSHOT, initial.snapshot_id, initial.lsn)
    main = Manifest(initial.branch_id, MAIN, None, layers, doc.created, pins=(pin,))
    cas.put_once(store, manifest_key(main.branch_id), main)
    if not cas.put_once(store, STORAGE_KEY, replace(doc, initial=initial)):
        store.delete(manifest_key(main.branch_id))  # somebody was faster; nothing names ours


def _name_initial(store: ObjectStore, doc: StorageDoc, initial: Initial) -> StorageDoc:
    snapshot = SnapshotRef(initial.branch_id, initial.lsn, doc.created, initial.snapshot_id)
    cas.claim(store, branch_ref_key(MAIN), BranchRef(initial.branch_id, None), _never_free)
    cas.claim(store, snapshot_ref_key(initial.snapshot), snapshot, _never_free)
    # Cleared last, and it never comes back: a snapshot that is deleted later stays deleted.
    return cas.update(store, STORAGE_KEY, StorageDoc, lambda found: replace(found, initial=None))


def _never_free(_: object) -> bool:
    return False
