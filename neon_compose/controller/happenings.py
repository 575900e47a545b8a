"""Which steps of a plan are news, and in which words. Pure: one place for all requests."""

from __future__ import annotations

from collections.abc import Iterator

from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc, StorageDoc
from neon_compose.model.states import Wanted
from neon_compose.wire.events import EventKind
from neon_compose.wire.pageserver import ImportAs

News = tuple[EventKind, str]

_IMPORTED = {ImportAs.NEW: EventKind.IMPORT_FINISHED, ImportAs.REFRESH: EventKind.STORAGE_REFRESHED}


def news_of(step: do.Step) -> Iterator[News]:
    """What a step that is done has brought."""
    match step:
        case do.PutDocument(doc=PgDoc() as doc, before=before):
            yield from _pg_news(doc, before)
        case do.PutDocument(doc=StorageDoc() as doc, before=before):
            yield from _storage_news(doc, before)
        case do.DropDocument(doc=PgDoc() as doc):
            yield EventKind.PG_DESTROYED, doc.name
        case do.DropDocument(doc=StorageDoc() as doc):
            yield EventKind.STORAGE_DETACHED, doc.name
        case do.PutBranch(storage=storage, branch=branch, fresh=True):
            yield EventKind.BRANCH_CREATED, f"{storage}/{branch}"
        case do.Prepare(doc=doc, fresh_branch=True):
            yield EventKind.BRANCH_CREATED, f"{doc.storage_name}/{doc.branch}"
        case do.DropBranch(storage=storage, branch=branch):
            yield EventKind.BRANCH_DELETED, f"{storage}/{branch}"
        case do.RestoreBranch(storage=storage, branch=branch):
            yield EventKind.BRANCH_RESTORED, f"{storage}/{branch}"
        case do.PutSnapshot(storage=storage, snapshot=snapshot, fresh=True):
            yield EventKind.SNAPSHOT_CREATED, f"{storage}/{snapshot}"
        case do.DropSnapshot(storage=storage, snapshot=snapshot):
            yield EventKind.SNAPSHOT_DELETED, f"{storage}/{snapshot}"
        case do.Initialise(storage=storage):
            yield EventKind.STORAGE_INITIALISED, storage
        case do.ImportDump(storage=storage, what=what) | do.ImportOrigin(storage=storage, what=what):
            yield _IMPORTED[what], storage
        case do.Open(doc=doc):
            yield EventKind.PG_STARTED, doc.name
        case _:
            return


def _pg_news(doc: PgDoc, before: object) -> Iterator[News]:
    if not isinstance(before, PgDoc):
        yield EventKind.PG_CREATED, doc.name
        return
    if doc.given != before.given or doc.branch != before.branch:
        yield EventKind.PG_CHANGED, doc.name
    if doc.wanted is Wanted.STOPPED and before.wanted is Wanted.RUNNING:
        yield EventKind.PG_STOPPING, doc.name


def _storage_news(doc: StorageDoc, before: object) -> Iterator[News]:
    """A document is first written as `attaching`: the storage is there once that is taken away."""
    if not isinstance(before, StorageDoc) or doc.attaching:
        return
    if before.attaching:
        yield EventKind.STORAGE_ATTACHED, doc.name
    elif doc.host_path != before.host_path:
        yield EventKind.STORAGE_MOVED, doc.name
    elif (doc.history, doc.history_size) != (before.history, before.history_size):
        yield EventKind.STORAGE_CHANGED, doc.name
