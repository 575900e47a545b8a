"""How a branch that is deleted goes: kept for a while, then for good.

A manifest's states, each a compare-and-swap away from the one before:
    there -> kept (`deleted`, `kept`)     delete: layers, WAL and the parent's pin stay
    kept -> there (`revived`)             undelete (undeletes)
    kept -> gone (`deleted` alone)        its time is over, or it is to go at once; it has no layers any more
    gone -> no manifest                   the parent's pin went before it, and so did WAL on safekeepers
Nothing leads back from gone, so only what is gone is removed, by however many at once and after any crash.

A delete buries the name and lays the parent's pin to rest after its fence; an undelete wakes the pin and
claims the name before it lifts the fence. Either may stand still anywhere, and be overtaken:
- Who buries or lays to rest has read that very document and that very pin first, then changes the manifest
  (the fence, or a new `guard`), and then touches them only if they are still the same.
- An undelete has read the manifest first, then writes a name and a pin that never were (`token`), and then
  lifts the fence only if the manifest is still the same.
So what names and pins a branch that is there was read by nobody who may bury it: such a reader came between
the undelete's reading and its last step, where the manifest didn't change, or has yet to change the manifest,
and will see that it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from neon_compose import wait
from neon_compose.errors import NotFound
from neon_compose.model.ids import new_id
from neon_compose.objectstore import cas
from neon_compose.objectstore.documents import BranchRef, Kept, Manifest, Point, branch_ref_key, manifest_key
from neon_compose.objectstore.pins import bury, find_manifest, find_pin, swap_pin, unpin
from neon_compose.objectstore.store import ObjectStore

KEPT_S = 24 * 3600

Change = Callable[[Manifest], Manifest]
LettingGo = Callable[[Manifest], None]  # hears of a manifest before it lets its layers go; may be repeated


def kept(manifest: Manifest) -> Manifest:
    """Of a branch that is there: deleted, and can be taken back."""
    return replace(manifest, deleted=wait.now(), kept=Kept(KEPT_S, new_id()))


def guarded(manifest: Manifest) -> Manifest:
    """An undelete that is under way fails, and begins anew; other states stay as they are."""
    if manifest.kept is None:
        return manifest
    return replace(manifest, kept=replace(manifest.kept, guard=new_id()))


def lay_to_rest(store: ObjectStore, name: str, ref: BranchRef, change: Change = guarded) -> Manifest | None:
    """Bury `ref` and rest the branch's pin if it is deleted after `change`; its manifest, None if there is
    none (then the name is buried too)."""
    pin = find_pin(store, ref.parent, ref.branch_id)
    try:
        found = cas.update(store, manifest_key(ref.branch_id), Manifest, change)
    except NotFound as error:
        if error.code != "no_object":
            raise
        found = None
    if found is not None and found.deleted is None:
        return found
    bury(store, branch_ref_key(name), ref)
    if found is not None and found.kept is not None:
        if ref.parent is not None and pin is not None and not pin.dormant:
            swap_pin(store, ref.parent.branch_id, pin, replace(pin, dormant=True))
    else:
        clear(store, ref.branch_id, ref.parent)
    return found


def freed(store: ObjectStore, ref: BranchRef) -> bool:
    """Whether the name can be had; removes what a buried one may have left."""
    if ref.deleted is None:
        return False
    clear(store, ref.branch_id, ref.parent)
    return True


def clear(store: ObjectStore, branch_id: UUID, parent: Point | None) -> None:
    """Remove what there is of a branch that is gone, or that its maker put under a buried name. Its name is
    buried before: else a repeat of the claim's wish would make the branch anew under a deleter's hands.

    A manifest of which safekeepers may have WAL stays, until they say that they have none (`forgotten`).
    """
    found = find_manifest(store, branch_id)
    if found is not None and found.deleted is None:
        found = cas.update(store, manifest_key(branch_id), Manifest, _came_late)
    if found is not None and not found.gone:
        return
    if parent is not None:
        unpin(store, parent.branch_id, branch_id)
    if found is None or found.register is None:
        store.delete(manifest_key(branch_id))


def end_branch(store: ObjectStore, branch_id: UUID, letting_go: LettingGo) -> None:
    """A deleted branch is gone, and the deleted branches made from it are gone before it. Nothing happens to
    one that is there. Repeat is success."""
    found = find_manifest(store, branch_id)
    if found is None or found.deleted is None:
        return
    for pin in found.pins:
        end_branch(store, pin.id, letting_go)
    letting_go(found)
    try:
        gone = cas.update(store, manifest_key(branch_id), Manifest, _ended)
    except NotFound:  # another came to the end
        return
    if not gone.gone:
        return
    for key in list(store.list("refs/branches/")):
        ref = cas.find(store, key, BranchRef)
        if ref is not None and ref.branch_id == branch_id:
            bury(store, key, ref)
    clear(store, branch_id, gone.parent)


def forgotten(store: ObjectStore, manifest: Manifest) -> None:
    """All safekeepers say that they have nothing of this branch, which is gone."""
    assert manifest.gone, manifest.name
    store.delete(manifest_key(manifest.branch_id))


def _ended(manifest: Manifest) -> Manifest:
    if manifest.deleted is None or manifest.pins:
        return manifest
    return replace(manifest, kept=None, layers=())


def _came_late(manifest: Manifest) -> Manifest:
    """Its maker finds that the name was buried, but a branch that was taken back has another."""
    if manifest.deleted is not None or manifest.revived is not None:
        return manifest
    return replace(manifest, deleted=wait.now())
