"""Branches by name. The order of writes is argued in manifests."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.protection import protected
from neon_compose.objectstore import cas
from neon_compose.objectstore.burials import LettingGo, clear, end_branch, freed, guarded, kept, lay_to_rest
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
from neon_compose.objectstore.pins import bury, find_manifest, in_words, pin, read_manifest
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
            return _same_parent(store, name, ref, parent, found), False
        lay_to_rest(store, name, ref)  # its deleter did not come to the end, or an undelete
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
    eras = () if ref is None else _eras(store, name, ref)
    if not eras:
        raise no_branch(name)
    return eras


def list_branches(store: ObjectStore) -> list[Manifest]:
    """The manifests of all branches, by name."""
    return [eras[-1] for eras in list_eras(store)]


def list_eras(store: ObjectStore) -> list[tuple[Manifest, ...]]:
    """As `read_eras`, of all branches, by name."""
    found = [_eras(store, name, ref) for name, ref in branch_refs(store)]
    return sorted((eras for eras in found if eras), key=lambda eras: eras[-1].name)


def branch_refs(store: ObjectStore) -> list[tuple[str, BranchRef]]:
    """All names there are or were."""
    found = [
        (PurePosixPath(key).stem, cas.find(store, key, BranchRef)) for key in store.list("refs/branches/")
    ]
    return [(name, ref) for name, ref in found if ref is not None]


def _eras(store: ObjectStore, name: str, ref: BranchRef) -> tuple[Manifest, ...]:
    """None if the name is no branch: buried, or claimed only, or being deleted, or left by an undelete while
    another took the branch back."""
    eras = () if ref.deleted else find_eras(store, ref.branch_id)
    return eras if eras and eras[-1].name == name else ()


def find_eras(store: ObjectStore, branch_id: UUID) -> tuple[Manifest, ...]:
    """The manifest of the branch and of those that succeeded it, the last one last; none if it is gone."""
    found = find_manifest(store, branch_id)
    if found is None or found.deleted:
        return ()
    eras = [found]
    while (successor := eras[-1].successor) is not None:
        eras.append(read_manifest(store, successor))
    return tuple(eras)


def dead_branches(store: ObjectStore) -> set[UUID]:
    """The ids of branches that are gone, as tombstones and manifests say."""
    buried = {ref.branch_id for _, ref in branch_refs(store) if ref.deleted}
    gone = {one.branch_id for one in deleted_branches(store) if one.gone}
    return gone | {one for one in buried if find_manifest(store, one) is None}


def branch_ids(store: ObjectStore) -> list[UUID]:
    """Of all branches that there are or were, as names and manifests say; those that can't be read too."""
    there = {UUID(PurePosixPath(key).stem) for key in store.list("branches/")}
    return sorted(there | {ref.branch_id for _, ref in branch_refs(store)})


def deleted_branches(store: ObjectStore) -> list[Manifest]:
    """The manifests of deleted branches, kept or gone."""
    found = (cas.find(store, key, Manifest) for key in store.list("branches/"))
    return [one for one in found if one is not None and one.deleted is not None]


def delete_branch(store: ObjectStore, name: str) -> UUID | None:
    """Delete the branch `name`, finished or not; `undelete_branch` takes it back. Repeat is success.

    Returns its id, None if it was deleted before.

    Raises `NotFound` if there never was one, `Conflict` code "main_branch", "branch_protected",
    "branch_needed" (children or snapshots) or "branch_in_use" (a writer).
    """
    if name == MAIN:
        raise Conflict(
            'branch "main" can\'t be deleted', hint="Detach the storage instead.", code="main_branch"
        )
    ref = _known_ref(store, name)
    if ref.deleted is not None:
        freed(store, ref)
        lay_to_rest(store, name, ref)
        return None
    for _ in range(cas.TRIES):
        _refuse_unmade(store, name, ref)
        lay_to_rest(store, name, ref, lambda found: _deleted(store, name, found))
        now = _known_ref(store, name)
        if now.deleted is not None or now.branch_id != ref.branch_id:
            return ref.branch_id
        ref = now  # it was taken back meanwhile
    raise Unavailable(f'branch "{name}" is deleted and taken back too often', code="contended")


def end_deleted(store: ObjectStore, name: str, letting_go: LettingGo) -> None:
    """All deleted branches that had the name, and those made from them, are gone for good."""
    for one in deleted_branches(store):
        if one.name == name:
            end_branch(store, one.branch_id, letting_go)


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
    if now is None or now.branch_id != ref.branch_id or now.deleted or found is None or found.deleted:
        lay_to_rest(store, manifest.name, ref)
        clear(store, ref.branch_id, ref.parent)
        raise Conflict(f'branch "{manifest.name}" was deleted while it was made', code="branch_deleted")
    return found, is_new


def _same_parent(
    store: ObjectStore, name: str, ref: BranchRef, parent: Point, found: Manifest | None
) -> Manifest:
    if found is not None and ref.parent == parent:
        return found
    start = in_words(store, ref.parent) if ref.parent else "nothing"
    raise Conflict(
        f'branch "{name}" exists' if found else f'branch "{name}" is being made from another source',
        detail=f"It starts from {start}.",
        hint="Take another name, or delete it first."
        if found
        else "Repeat that, or delete the branch first.",
        code="branch_exists",
    )


def _refuse_unmade(store: ObjectStore, name: str, ref: BranchRef) -> None:
    """A fence where the manifest isn't there yet: its maker can't finish it."""
    if find_manifest(store, ref.branch_id) is None:
        never_made = Manifest(ref.branch_id, name, ref.parent, (), wait.now(), deleted=wait.now())
        cas.put_once(store, manifest_key(ref.branch_id), never_made)


def _deleted(store: ObjectStore, name: str, manifest: Manifest) -> Manifest:
    if manifest.deleted:
        return guarded(manifest)
    if manifest.name != name:  # it was deleted, and taken back under another name
        raise no_branch(name)
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
    if not all(one.dormant for one in manifest.pins):
        raise Conflict(
            f'branch "{manifest.name}" is needed',
            detail=_needing(store, manifest),
            hint=f"Delete those first, or all at once: neon-compose branch delete {manifest.name} --cascade",
            code="branch_needed",
        )
    return kept(manifest)


def _needing(store: ObjectStore, manifest: Manifest) -> str:
    """Whom its pins are of, by name; those that never came to be finished have none."""
    pins = {one.id for one in manifest.pins if not one.dormant}
    children = [one.name for eras in list_eras(store) for one in eras if one.branch_id in pins]
    snapshots = [one.name for one in list_snapshots(store) if one.ref.snapshot_id in pins]
    found = [("Branches made from it", children), ("Snapshots of it", snapshots)]
    said = [f"{what}: {', '.join(sorted(set(names)))}." for what, names in found if names]
    unfinished = len(pins) - len(children) - len(snapshots)
    return " ".join([*said, *([f"Not finished: {unfinished}."] if unfinished > 0 else [])])


def _known_ref(store: ObjectStore, name: str) -> BranchRef:
    ref = cas.find(store, branch_ref_key(name), BranchRef)
    if ref is None:
        raise no_branch(name)
    return ref


def no_branch(name: str) -> NotFound:
    return NotFound(f'branch "{name}" does not exist', code="no_branch")
