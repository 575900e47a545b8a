"""A branch goes back to a moment under the same name; what it was stays, as a branch with another name.

Order of writes, each an atomic store call:
    restores/<name>.json -> pin in the point's branch -> manifest of the new branch -> the name's document
    -> the old branch's data directory goes -> its manifests get their name, without the writer -> that name
    -> restores/<name>.json goes
The compare-and-swap of the name's document is the moment: before it nothing that a reader finds names the new
branch, after it the name is the new one. Children and snapshots pin the old branch by its id, and stay.

restores/<name>.json names all that a restore makes, so what one that was cut off left is finished, or
removed, by exactly these ids. `settle_restore` does that. One process at a time works on a storage's names
here: the caller keeps a second one off the same name, and settles all before it serves.

The old branch's data directory goes before its manifest lets it go: one that no manifest names, and that
clients wrote to, looks like data that must not be lost (pageserver.generations).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import PurePosixPath
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import Conflict, NeonError
from neon_compose.model.ids import new_id
from neon_compose.model.names import LONGEST
from neon_compose.model.protection import protected
from neon_compose.objectstore import cas
from neon_compose.objectstore.branches import find_eras, list_eras, read_branch
from neon_compose.objectstore.burials import freed
from neon_compose.objectstore.documents import (
    RESTORES,
    BranchRef,
    Cluster,
    Manifest,
    PinKind,
    Point,
    Restore,
    Writer,
    branch_ref_key,
    manifest_key,
    restore_key,
)
from neon_compose.objectstore.pins import find_manifest, pin, unpin, update_manifest
from neon_compose.objectstore.store import ObjectStore

Discard = Callable[[Writer], None]  # remove that data directory; repeat is success


def restore_branch(
    store: ObjectStore,
    name: str,
    point: Point,
    layers: tuple[UUID, ...],
    cluster: Cluster | None,
    keep: str,
    discard: Discard,
) -> Manifest:
    """Have the name `name` mean a new branch that starts at `point`; what it meant is `keep` from now on, or
    `keep-2`, … if that is taken meanwhile.

    Its data directory is discarded: the caller knows that it is not the only copy, and that nobody runs on
    it. Raises `NotFound` code "no_branch", `Conflict` code "branch_exists" if `keep` is taken, "busy",
    "branch_protected" and "branch_changed"; then nothing has changed.
    """
    settle_restore(store, name, discard)
    old = read_branch(store, name)
    if old.protected:
        raise protected(name)
    ref, _ = cas.read(store, branch_ref_key(name), BranchRef)
    refuse_taken(store, keep)
    restore = Restore(name, ref.branch_id, ref.parent, old.writer, new_id(), point, keep, wait.now())
    if not cas.put_once(store, restore_key(name), restore):
        raise Conflict(f'branch "{name}" is being restored', code="busy")
    try:
        pin(store, point, PinKind.BRANCH, restore.new_id)
        made = Manifest(
            restore.new_id,
            name,
            point,
            layers,
            wait.now(),
            cluster=cluster,
            replaces=old.branch_id,
            expires=old.expires,
        )
        cas.put_once(store, manifest_key(made.branch_id), made)
        cas.update(store, branch_ref_key(name), BranchRef, _moved(restore, ref))
    except (NeonError, OSError):
        settle_restore(store, name, discard)
        raise
    settle_restore(store, name, discard)
    return made


def settle_restore(store: ObjectStore, name: str, discard: Discard) -> None:
    """Finish the restore of `name` that is under way if it came to its moment, else remove all of it."""
    restore = cas.find(store, restore_key(name), Restore)
    if restore is None:
        return
    ref = cas.find(store, branch_ref_key(name), BranchRef)
    if ref is not None and ref.branch_id == restore.new_id:
        _keep_old(store, restore, discard)
    else:
        unpin(store, restore.point.branch_id, restore.new_id)
        store.delete(manifest_key(restore.new_id))
    store.delete(restore_key(name))


def settle_restores(store: ObjectStore, discard: Discard) -> None:
    """As `settle_restore`, of all names."""
    for key in list(store.list(RESTORES)):
        settle_restore(store, PurePosixPath(key).stem, discard)


def origin_of(store: ObjectStore, manifest: Manifest) -> Manifest | None:
    """The branch that `manifest`'s name was first made from, as it is now: of the same name, though that was
    refreshed or restored since. None if it was made from no branch."""
    while manifest.replaces is not None:
        before = find_manifest(store, manifest.replaces)
        if before is None or before.deleted:
            break
        manifest = before
    return None if manifest.parent is None else _heir(store, manifest.parent.branch_id)


def _heir(store: ObjectStore, branch_id: UUID) -> Manifest | None:
    """Who has the name now that the branch `branch_id` had."""
    known = list_eras(store)
    heirs = {era.branch_id: eras[-1] for eras in known for era in eras}
    takers = {eras[0].replaces: eras[-1] for eras in known if eras[0].replaces is not None}
    found = heirs.get(branch_id)
    while found is not None and (taker := takers.get(found.branch_id)) is not None:
        found = taker
    return found


def _moved(restore: Restore, before: BranchRef) -> Callable[[BranchRef], BranchRef]:
    def change(found: BranchRef) -> BranchRef:
        if found != before:
            raise Conflict(f'branch "{restore.name}" was deleted meanwhile', code="branch_changed")
        return BranchRef(restore.new_id, restore.point)

    return change


def _keep_old(store: ObjectStore, restore: Restore, discard: Discard) -> None:
    eras = find_eras(store, restore.old_id)
    if not eras:  # it was named, and deleted since
        return
    if restore.writer is not None:
        discard(restore.writer)
    wanted = BranchRef(restore.old_id, restore.old_parent)
    for name in _names(restore.keep):
        for era in eras:
            update_manifest(store, era.branch_id, _kept(name, restore.writer))
        found, _ = cas.claim(store, branch_ref_key(name), wanted, lambda ref: freed(store, ref))
        if found.branch_id == restore.old_id:
            return


def _kept(name: str, writer: Writer | None) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        left = None if manifest.writer == writer else manifest.writer
        return replace(manifest, name=name, writer=left)

    return change


def _names(keep: str) -> Iterator[str]:
    yield keep
    for number in count(2):
        end = f"-{number}"
        yield keep[: LONGEST - len(end)].rstrip("-") + end


def refuse_taken(store: ObjectStore, keep: str) -> None:
    """Raises `Conflict` code "branch_exists" if the name `keep` is a branch's."""
    ref = cas.find(store, branch_ref_key(keep), BranchRef)
    if ref is not None and ref.deleted is None:
        raise Conflict(
            f'branch "{keep}" exists', hint="Take another name to keep the old state.", code="branch_exists"
        )
