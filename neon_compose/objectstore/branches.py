"""Branches by name. The order of writes is argued in manifests."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.protection import protected
from neon_compose.objectstore import cas
from neon_compose.objectstore.documents import (
    BranchRef,
    Cluster,
    Manifest,
    PinKind,
    Point,
    Writer,
    branch_ref_key,
    manifest_key,
)
from neon_compose.objectstore.pins import bury, find_manifest, pin, read_manifest, unpin
from neon_compose.objectstore.snapshots import list_snapshots
from neon_compose.objectstore.store import ObjectStore

MAIN = "main"


def create_branch(
    store: ObjectStore,
    name: str,
    parent: Point,
    layers: tuple[UUID, ...],
    writer: Writer | None = None,
    cluster: Cluster | None = None,
    asked: str | None = None,
) -> tuple[Manifest, bool]:
    """Make the branch `name` from `parent`, opened from `layers`; (its manifest, whether it is new).

    `asked` is what `branch_start` knows the wish by. Repeat is success and changes nothing. Raises
    `Conflict` code "branch_exists" if the name has another parent or is claimed for one, `NotFound` if the
    parent is gone.
    """
    for _ in range(cas.TRIES):
        ref, _ = cas.claim(
            store, branch_ref_key(name), BranchRef(new_id(), parent, asked=asked), lambda r: freed(store, r)
        )
        found = find_manifest(store, ref.branch_id)
        if found is None and ref.parent == parent:
            made = Manifest(ref.branch_id, name, parent, layers, wait.now(), writer=writer, cluster=cluster)
            return _finish(store, ref, made)
        if found is None or not found.deleted:
            return _same_parent(name, ref, parent, found), False
        _finish_delete(store, name, ref)  # its deleter did not come to the end
    raise Unavailable(f'branch "{name}" is made and deleted too often', code="contended")


def branch_start(store: ObjectStore, name: str, asked: str) -> Point | None:
    """Where the branch `name` starts, or is about to, if it was `asked` for by these words; else None."""
    ref = cas.find(store, branch_ref_key(name), BranchRef)
    if ref is None or ref.deleted or ref.asked != asked:
        return None
    found = find_manifest(store, ref.branch_id)
    return None if found is not None and found.deleted else ref.parent


def read_branch(store: ObjectStore, name: str) -> Manifest:
    """The manifest of the branch `name`. Raises `NotFound` code "no_branch"."""
    return read_eras(store, name)[-1]


def read_eras(store: ObjectStore, name: str) -> tuple[Manifest, ...]:
    """The manifests that had the name `name`, the one that has it last: every refresh begins an era.

    Raises `NotFound` code "no_branch".
    """
    ref = cas.find(store, branch_ref_key(name), BranchRef)
    eras = () if ref is None else _eras(store, ref)
    if not eras:
        raise _no_branch(name)
    return eras


def list_branches(store: ObjectStore) -> list[Manifest]:
    """The manifests of all branches, by name."""
    return [eras[-1] for eras in list_eras(store)]


def list_eras(store: ObjectStore) -> list[tuple[Manifest, ...]]:
    """As `read_eras`, of all branches, by name."""
    refs = [cas.find(store, key, BranchRef) for key in store.list("refs/branches/")]
    found = [_eras(store, ref) for ref in refs if ref]
    return sorted((eras for eras in found if eras), key=lambda eras: eras[-1].name)


def _eras(store: ObjectStore, ref: BranchRef) -> tuple[Manifest, ...]:
    """None if the name is no branch: buried, or claimed only, or being deleted."""
    return () if ref.deleted else find_eras(store, ref.branch_id)


def find_eras(store: ObjectStore, branch_id: UUID) -> tuple[Manifest, ...]:
    """The manifest of the branch and of those that succeeded it, the last one last; none if it is gone."""
    found = find_manifest(store, branch_id)
    if found is None or found.deleted:
        return ()
    eras = [found]
    while (successor := eras[-1].successor) is not None:
        eras.append(read_manifest(store, successor))
    return tuple(eras)


def buried_branches(store: ObjectStore) -> set[UUID]:
    """The ids that tombstones name and no manifest has: of branches that were deleted."""
    refs = [cas.find(store, key, BranchRef) for key in store.list("refs/branches/")]
    buried = {ref.branch_id for ref in refs if ref and ref.deleted}
    return {one for one in buried if find_manifest(store, one) is None}


def delete_branch(store: ObjectStore, name: str) -> None:
    """Delete the branch `name`, finished or not. Repeat is success.

    Raises `NotFound` if there never was one, `Conflict` code "main_branch", "branch_protected",
    "branch_needed" (children or snapshots) or "branch_in_use" (a writer).
    """
    ref = cas.find(store, branch_ref_key(name), BranchRef)
    if ref is None:
        raise _no_branch(name)
    if name == MAIN:
        raise Conflict(
            'branch "main" can\'t be deleted', hint="Detach the storage instead.", code="main_branch"
        )
    if ref.deleted is None:
        _fence(store, name, ref)
    _finish_delete(store, name, ref)


def _finish(store: ObjectStore, ref: BranchRef, manifest: Manifest) -> tuple[Manifest, bool]:
    """From a claim to a branch."""
    key = branch_ref_key(manifest.name)
    assert ref.parent is not None
    try:
        pin(store, ref.parent, PinKind.BRANCH, ref.branch_id)
    except NotFound:  # it can never be finished; don't leave the name taken
        bury(store, key, ref)
        raise
    is_new = cas.put_once(store, manifest_key(ref.branch_id), manifest)
    now = cas.find(store, key, BranchRef)
    found = find_manifest(store, ref.branch_id)
    if now != ref or found is None or found.deleted:
        _finish_delete(store, manifest.name, ref)
        raise Conflict(f'branch "{manifest.name}" was deleted while it was made', code="branch_deleted")
    return found, is_new


def _same_parent(name: str, ref: BranchRef, parent: Point, found: Manifest | None) -> Manifest:
    if found is not None and ref.parent == parent:
        return found
    start = f"branch {ref.parent.branch_id} at {ref.parent.lsn}" if ref.parent else "nothing"
    raise Conflict(
        f'branch "{name}" exists' if found else f'branch "{name}" is being made from another source',
        detail=f"It starts from {start}.",
        hint="Take another name." if found else "Repeat that, or delete the branch first.",
        code="branch_exists",
    )


def _fence(store: ObjectStore, name: str, ref: BranchRef) -> None:
    """Make the manifest a deleted one, whether it is there yet or not."""
    key = manifest_key(ref.branch_id)
    never_made = Manifest(ref.branch_id, name, ref.parent, (), wait.now(), deleted=wait.now())
    if find_manifest(store, ref.branch_id) is None and cas.put_once(store, key, never_made):
        return
    try:
        cas.update(store, key, Manifest, lambda manifest: _deleted(store, manifest))
    except NotFound:  # another deleter came to the end
        return


def _deleted(store: ObjectStore, manifest: Manifest) -> Manifest:
    if manifest.deleted:
        return manifest
    if manifest.protected:
        raise protected(manifest.name)
    if manifest.writer:
        raise Conflict(
            f'branch "{manifest.name}" is in use',
            detail=f'Pg "{manifest.writer.pg}" writes to it.',
            hint=f"Destroy that first: neon-compose pg destroy -n {manifest.writer.pg}",
            code="branch_in_use",
        )
    if manifest.successor is not None:
        raise Conflict(
            f'branch "{manifest.name}" is needed',
            detail="It has what main was before a refresh, and has since.",
            code="branch_needed",
        )
    if manifest.pins:
        raise Conflict(
            f'branch "{manifest.name}" is needed',
            detail=_needing(store, manifest),
            hint=f"Delete those first, or all at once: neon-compose branch delete {manifest.name} --cascade",
            code="branch_needed",
        )
    return replace(manifest, deleted=wait.now())


def _needing(store: ObjectStore, manifest: Manifest) -> str:
    """Whom its pins are of, by name; those that never came to be finished have none."""
    pins = {one.id for one in manifest.pins}
    children = [one.name for eras in list_eras(store) for one in eras if one.branch_id in pins]
    snapshots = [one.name for one in list_snapshots(store) if one.ref.snapshot_id in pins]
    found = [("Branches made from it", children), ("Snapshots of it", snapshots)]
    said = [f"{what}: {', '.join(sorted(set(names)))}." for what, names in found if names]
    unfinished = len(pins) - len(children) - len(snapshots)
    return " ".join([*said, *([f"Not finished: {unfinished}."] if unfinished > 0 else [])])


def _finish_delete(store: ObjectStore, name: str, ref: BranchRef) -> None:
    """From a fenced manifest to nothing but a tombstone.

    A manifest, deleted or not, never goes before its name is buried: else a repeat of the claim's wish
    would find the fence gone and make the branch under a deleter's hands.
    """
    bury(store, branch_ref_key(name), ref)
    freed(store, replace(ref, deleted=ref.deleted or wait.now()))


def freed(store: ObjectStore, ref: BranchRef) -> bool:
    """Remove what a buried name may have left; whether the name is free."""
    if ref.deleted is None:
        return False
    if ref.parent is not None:
        unpin(store, ref.parent.branch_id, ref.branch_id)
    store.delete(manifest_key(ref.branch_id))
    return True


def _no_branch(name: str) -> NotFound:
    return NotFound(f'branch "{name}" does not exist', code="no_branch")
