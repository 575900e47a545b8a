"""Taking back a deleted branch, under its name or another. Why that is safe is argued in burials."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.objectstore import cas
from neon_compose.objectstore.branches import branch_refs, deleted_branches, read_branch
from neon_compose.objectstore.burials import LettingGo, end_branch, freed, lay_to_rest
from neon_compose.objectstore.documents import (
    BranchRef,
    Manifest,
    Pin,
    PinKind,
    branch_ref_key,
    manifest_key,
)
from neon_compose.objectstore.pins import bury, find_manifest, find_pin, update_manifest
from neon_compose.objectstore.store import ObjectStore


def undelete_branch(store: ObjectStore, name: str, new_name: str | None = None) -> Manifest:
    """Take back the last deleted of the branches that had `name`, under that name or `new_name`, with all it
    had but its snapshots. Repeat is success.

    Raises `NotFound` code "no_deleted_branch", `Conflict` code "branch_exists" if the name is taken, or
    "parent_deleted".
    """
    wanted = new_name or name
    for _ in range(cas.TRIES):
        found = _last_deleted(store, name)
        done = _taken_back(store, name, wanted) if found is None else _take_back(store, found, wanted)
        if done is not None:
            return done
    raise Unavailable(f'branch "{name}" is deleted and taken back too often', code="contended")


def count_down(store: ObjectStore, manifest: Manifest, seconds: int) -> Manifest | None:
    """So much less time is left of it, unless it was taken back; what there is of it now."""

    def less(found: Manifest) -> Manifest:
        if found.kept is None or manifest.kept is None or found.kept.guard != manifest.kept.guard:
            return found
        left_s = max(0, found.kept.left_s - seconds)
        return replace(found, kept=replace(found.kept, left_s=left_s))

    try:
        return cas.update(store, manifest_key(manifest.branch_id), Manifest, less)
    except NotFound:
        return None


def settle_deleted(store: ObjectStore, letting_go: LettingGo) -> None:
    """Finish the deletes, and take back the undeletes, that were cut off."""
    for name, ref in branch_refs(store):
        found = find_manifest(store, ref.branch_id) if ref.deleted is None else None
        if found is not None and found.deleted is not None:
            lay_to_rest(store, name, ref)
        elif found is not None and found.name != name:
            bury(store, branch_ref_key(name), ref)
    for one in deleted_branches(store):
        if one.gone:
            end_branch(store, one.branch_id, letting_go)
            continue
        pin = find_pin(store, one.parent, one.branch_id)
        if pin is not None and not pin.dormant:
            lay_to_rest(store, one.name, BranchRef(one.branch_id, one.parent, deleted=one.deleted))


def _last_deleted(store: ObjectStore, name: str) -> Manifest | None:
    found = [
        (one.kept.left_s, one.deleted, one)
        for one in deleted_branches(store)
        if one.name == name and one.kept is not None and one.deleted is not None
    ]
    return max(found, key=lambda one: one[:2])[2] if found else None


def _taken_back(store: ObjectStore, name: str, wanted: str) -> Manifest:
    """By an earlier call."""
    try:
        found = read_branch(store, wanted)
    except NotFound:
        found = None
    if found is None or found.revived is None:
        raise NotFound(
            f'there is no deleted branch "{name}"',
            detail="A deleted branch can be taken back for 24 hours, unless it was deleted with --now.",
            hint="neon-compose branch list --deleted shows those there are.",
            code="no_deleted_branch",
        )
    return found


def _take_back(store: ObjectStore, found: Manifest, name: str) -> Manifest | None:
    """None if something else came to it meanwhile."""
    token = new_id()
    if not _wake(store, found, token):
        return None
    ref = BranchRef(found.branch_id, found.parent, token=token)
    there, is_mine = cas.claim(
        store, branch_ref_key(name), ref, lambda one: one.branch_id == found.branch_id or freed(store, one)
    )
    if not is_mine:
        return _holder(store, found, name, there, ref)

    def back(manifest: Manifest) -> Manifest:
        if manifest != found:
            raise Conflict(f'branch "{name}" was changed meanwhile', code="changed")
        over = manifest.expires is not None and manifest.expires <= wait.now()
        expires = None if over else manifest.expires
        return replace(manifest, name=name, deleted=None, kept=None, revived=token, expires=expires)

    try:
        return cas.update(store, manifest_key(found.branch_id), Manifest, back)
    except (Conflict, NotFound) as error:
        if error.code not in ("changed", "no_object"):
            raise
    now = lay_to_rest(store, name, ref)
    if now is not None and now.deleted is None and now.name != name:
        bury(store, branch_ref_key(name), ref)
    return None


def _wake(store: ObjectStore, found: Manifest, token: UUID) -> bool:
    """The parent keeps what the branch needs, and is not deleted any more; False if the branch is gone."""
    if found.parent is None:
        return True
    pin = Pin(PinKind.BRANCH, found.branch_id, found.parent.lsn, token=token)

    def wake(parent: Manifest) -> Manifest:
        pins = tuple(pin if one.id == pin.id else one for one in parent.pins)
        return replace(parent, pins=pins)

    try:
        return pin in update_manifest(store, found.parent.branch_id, wake).pins
    except NotFound as error:
        parent = find_manifest(store, found.parent.branch_id)
        said = parent.name if parent is not None else str(found.parent.branch_id)
        raise Conflict(
            f'branch "{found.name}" was made from a branch that is deleted',
            detail=f'That is "{said}".',
            hint=f"Take that back first: neon-compose branch undelete {said}",
            code="parent_deleted",
        ) from error


def _holder(
    store: ObjectStore, found: Manifest, name: str, there: BranchRef, ref: BranchRef
) -> Manifest | None:
    """Who has the name, if that was taken back by an earlier call; None if it is about to lose the name."""
    lay_to_rest(store, name, ref)  # the pin
    holder = find_manifest(store, there.branch_id)
    if holder is not None and holder.deleted is not None:
        lay_to_rest(store, name, there)
        return None
    if holder is not None and holder.revived is not None and name == found.name:
        return holder
    raise Conflict(
        f'branch "{name}" exists',
        detail="A deleted branch needs a free name to come back.",
        hint=f"Take another name: neon-compose branch undelete {found.name} --as OTHER",
        code="branch_exists",
    )
