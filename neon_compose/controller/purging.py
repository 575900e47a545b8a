"""Safekeepers forget the WAL of a storage that is purged, also those that are down meanwhile.

Owns `ForgetDoc`: which branches of a purged storage safekeepers are to forget. It is written before anything
of the storage goes, since afterwards nobody knows its branches, and goes once all safekeepers of the stack
have said that they have nothing of them.

Order, each step repeatable: the storage's document says that it ends with its data, which nothing takes back
-> ForgetDoc -> what plan_detach has, the storage's document last -> safekeepers forget -> ForgetDoc goes.
A controller that dies in between, and whoever asks again, goes on where it was: without a ForgetDoc nothing
is removed yet, so the pageserver can be asked again; as long as the storage's document is there nobody
forgets anything.
"""

from __future__ import annotations

import logging
from uuid import UUID

from neon_compose.controller import plan
from neon_compose.controller.desired import ForgetDoc, StorageDoc
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.safekeepers import Safekeeper
from neon_compose.controller.site import Site
from neon_compose.errors import NeonError
from neon_compose.wire.events import EventKind

log = logging.getLogger(__name__)


def begin(site: Site, doc: StorageDoc) -> None:
    """The purge of `doc` can't be taken back from here on. Under the storage's lock."""
    snap = site.snapshot()
    wanted = bool(snap.safekeepers) and not any(_is_of(one, doc) for one in snap.desired.forgetting)
    branches = _branches(site, snap, doc) if wanted else []
    if doc.ending != "purge":
        site.documents.put(doc.model_copy(update={"ending": "purge"}))
    if wanted:
        site.documents.put(ForgetDoc(storage=doc.name, attached_at=doc.created_at, branches=branches))


def abandon(site: Site, snap: Snapshot, doc: StorageDoc) -> None:
    """Undo an attach, or finish a detach, that was cut off."""
    if doc.ending == "purge":
        begin(site, doc)
        snap = site.snapshot()
    with site.execution(snap) as execution:
        execution.run(plan.plan_abandon(snap, doc))


def forget_all(site: Site) -> None:
    """Have safekeepers forget what storages had that are gone; who doesn't answer is asked the next time."""
    if not site.documents.read().forgetting:
        return
    snap = site.snapshot()
    for one in snap.desired.forgetting:
        storage = snap.desired.storages.get(one.storage)
        if storage is not None and _is_of(one, storage):
            continue  # its purge goes on
        running = site.running_safekeepers(snap)
        done = [_forget(safekeeper, one) for safekeeper in running.values()]
        if all(done) and set(running) >= set(snap.safekeepers):
            site.documents.remove(one)
        else:
            log.warning("not all safekeepers have forgotten the WAL of purged storage %s", one.storage)


def _forget(safekeeper: Safekeeper, doc: ForgetDoc) -> bool:
    try:
        for branch in doc.branches:
            safekeeper.delete(UUID(branch))
    except NeonError as error:
        log.warning("a safekeeper does not forget a purged storage: %s", error.message)
        return False
    return True


def _branches(site: Site, snap: Snapshot, doc: StorageDoc) -> list[str]:
    """All it ever had that its pageserver knows of. That is started for it if need be: a storage that can't
    be read is purged all the same."""
    try:
        with site.execution(snap) as execution:
            execution.run(plan.plan_pageserver(snap, doc))
            now = site.snapshot()
            address = now.address(now.pageserver(doc.name))
            return site.pageservers.at(address).branch_ids() if address is not None else []
    except NeonError as error:
        why = f"it does not say which branches it has, so safekeepers keep their WAL: {error.message}"
        log.warning("storage %s is purged, but %s (%s)", doc.name, why, error.detail)
        site.events.tell(EventKind.STEP_FAILED, f"purge storage {doc.name}", why)
        return []


def _is_of(one: ForgetDoc, doc: StorageDoc) -> bool:
    return (one.storage, one.attached_at) == (doc.name, doc.created_at)
