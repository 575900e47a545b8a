"""Deleted branches: taking them back for a day, and what goes after that.

Owns the thread that counts. Of the day counts what this process saw pass while it ran, in steps of its
period, and what it counted is in the manifest: no clock that is set, in whatever direction, and no time the
machine slept, takes a branch away early. It may stay longer. A branch that was deleted with what was made
from it goes after that.

Does not do: the order of writes (objectstore.burials), layers' files (collecting). On safekeepers WAL of a
branch that is gone goes when they answer (tending too); its manifest stays until all have said so, since
after that nobody knows of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from neon_compose import log, wait
from neon_compose.errors import NeonError
from neon_compose.model.names import parse_name
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.wire import pageserver as wire

_log = log.get(__name__)
_PERIOD_S = 600.0


@dataclass
class Deleting:
    """`settle` finishes what a restore left of a name, `letting_go` hears of layers that may go, `forget` has
    the safekeepers forget a branch and says whether all did, `gone` is told that they can."""

    store: ObjectStore
    settle: Callable[[str], None]
    letting_go: Callable[[Manifest], None]
    forget: Callable[[UUID], bool]
    gone: Callable[[], None]
    _seen: dict[UUID, float] = field(default_factory=dict)  # up to when is counted, by guard
    _ended: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)

    def delete(self, name: str, *, now: bool = False) -> None:
        """As `manifests.delete_branch`; with `now` for good. One that was deleted before isn't touched: an
        undo of a branch that was never made must not end that (see `end`)."""
        self.settle(name)
        deleted = manifests.delete_branch(self.store, name)
        if now and deleted is not None:
            manifests.end_branch(self.store, deleted, self.letting_go)
            self._wake.set()
        self.gone()

    def end(self, name: str) -> None:
        """All deleted branches of the name go for good. Repeat is success."""
        manifests.end_deleted(self.store, name, self.letting_go)
        self._wake.set()
        self.gone()

    def undelete(self, name: str, new_name: str | None) -> Manifest:
        """As `manifests.undelete_branch`."""
        wanted = parse_name(new_name, "branch") if new_name is not None else name
        self.settle(wanted)
        return manifests.undelete_branch(self.store, name, wanted)

    def shown(self) -> list[wire.DeletedBranch]:
        """Those that can be taken back, the last deleted first."""
        names = {one.branch_id: one.name for eras in manifests.list_eras(self.store) for one in eras}
        found = manifests.deleted_branches(self.store)
        names |= {one.branch_id: one.name for one in found}
        kept = (_shown(one, names) for one in found if one.kept is not None)
        return sorted(kept, key=lambda one: (-one.left_s, one.name))

    # ---- counting

    def start(self) -> None:
        threading.Thread(target=self._run, name="deleting", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._wake.set()

    def _run(self) -> None:
        """A sweep at the start, one in each period, and one as soon as something has gone for good."""
        while not self._ended.is_set():
            self._wake.clear()
            try:
                self.sweep()
            except (NeonError, OSError) as error:
                _log.warning("deleted branches are not looked after: %s", error)
            self._wake.wait(_PERIOD_S)

    def sweep(self) -> None:
        """Count, and have go what is over."""
        manifests.settle_deleted(self.store, self.letting_go)
        now_s, counted = wait.monotonic_s(), {}
        for one in manifests.deleted_branches(self.store):
            if one.kept is not None:
                since_s = self._seen.get(one.kept.guard, now_s)
                counted[one.kept.guard] = since_s + self._count(one, int(now_s - since_s))
            elif one.register is not None and self.forget(one.branch_id):
                manifests.forgotten(self.store, one)
        self._seen = counted

    def _count(self, manifest: Manifest, passed_s: int) -> int:
        found = manifests.count_down(self.store, manifest, passed_s)
        # What pins it keeps it: that was deleted before, and goes first.
        if found is not None and found.kept is not None and found.kept.left_s == 0 and not found.pins:
            _log.info("branch %s (%s) can't be taken back any more", found.name, found.branch_id)
            manifests.end_branch(self.store, found.branch_id, self.letting_go)
        return passed_s


def _shown(manifest: Manifest, names: dict[UUID, str]) -> wire.DeletedBranch:
    assert manifest.kept is not None
    assert manifest.deleted is not None
    parent = manifest.parent
    return wire.DeletedBranch(
        name=manifest.name,
        id=str(manifest.branch_id),
        parent=names.get(parent.branch_id, str(parent.branch_id)) if parent else None,
        deleted_at=manifest.deleted,
        left_s=manifest.kept.left_s,
    )
