"""What can be asked of storages: one function per request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from neon_compose.controller import contents, plan, purging, render
from neon_compose.controller import steps as do
from neon_compose.controller.contents import Upload
from neon_compose.controller.desired import StorageDoc
from neon_compose.controller.execute import Execution, silent
from neon_compose.controller.folder import Claimed
from neon_compose.controller.hostpath import check_host_path, check_unclaimed
from neon_compose.controller.moved import followed
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.engine.runtime import EVERYTHING, Kind
from neon_compose.errors import Conflict, Invalid, NeonError
from neon_compose.model.history import parse_age, parse_size
from neon_compose.model.names import parse_name
from neon_compose.model.origin import is_server
from neon_compose.model.states import StorageType
from neon_compose.wait import now
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.pageserver import ImportAs, StorageStatus
from neon_compose.wire.rest import StorageAction, StorageIn, StorageOut

log = logging.getLogger(__name__)


# ---- reading


def show(site: Site, name: str, note: str | None = None) -> StorageOut:
    snap = site.snapshot()
    if name not in snap.desired.storages:
        snap.storage(name)
    return render.storage_out(snap, snap.desired.storages[name], _status_of(site, snap, name), note)


def list_all(site: Site, snap: Snapshot | None = None) -> list[StorageOut]:
    """By name; the pageservers are asked beside each other."""
    snap = snap or site.snapshot()
    servers = site.answering(snap)
    statuses = dict(zip(servers, site.workers.map(_status, servers.values()), strict=True))
    return [
        render.storage_out(snap, doc, statuses.get(name))
        for name, doc in sorted(snap.desired.storages.items())
    ]


def _status_of(site: Site, snap: Snapshot, name: str) -> StorageStatus | NeonError | None:
    address = snap.address(snap.pageserver(name))
    return _status(site.pageservers.at(address)) if address else None


def _status(pageserver: Pageserver) -> StorageStatus | NeonError:
    """How its storage is, or why it can't say."""
    try:
        return pageserver.status()
    except NeonError as error:
        log.warning("a pageserver gives no status: %s", error.message)
        return error


# ---- attaching


def attach(
    site: Site,
    request: StorageIn,
    emit: Emit = silent,
    upload: Upload | None = None,
    *,
    dry_run: bool = False,
) -> tuple[StorageOut, bool] | Plan:
    """Attach the storage (True), or find it attached as asked (False).

    Content comes from `upload`, from the server or engine-side path `request.import_`, or is a fresh
    cluster. A failure leaves nothing that this request made.
    """
    parse_name(request.name, "storage")
    request = contents.without_password(request)
    path = _checked(request)
    work = partial(_attach, site, request, path, emit, upload, dry_run=dry_run)
    if dry_run:
        return work()
    what = f"attach {request.model_dump_json()}" + (f" upload {id(upload)}" if upload else "")
    return site.locks.run(what, work, alone=frozenset({f"storage/{request.name}"}))


def _checked(request: StorageIn) -> str | None:
    if request.type is not StorageType.NATIVE:
        raise Invalid(
            f'storage type "{request.type}" is not available',
            hint='Use "native": a Docker volume, or a folder with "path".',
            code="not_available",
        )
    if request.import_ is not None and not is_server(request.import_):
        check_host_path(request.import_, "import path")
    if request.history is not None:
        parse_age(request.history)
    if request.history_size is not None:
        parse_size(request.history_size)
    return None if request.path is None else check_host_path(request.path)


def _attach(
    site: Site, request: StorageIn, path: str | None, emit: Emit, upload: Upload | None, *, dry_run: bool
) -> tuple[StorageOut, bool] | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot(EVERYTHING)
    doc = snap.desired.storages.get(request.name)
    if doc is not None and (doc.attaching or doc.ending):  # a controller died in the middle of it
        purging.abandon(site, snap, doc)
        snap, doc = site.snapshot(EVERYTHING), None
    if doc is not None:
        return _attached_before(site, snap, doc, request, path, upload, dry_run=dry_run)
    if path is not None:
        check_unclaimed(path, site.stack, snap.desired, site.engine.observe(None, (Kind.CONTAINER,)), "")
    if dry_run:
        claim = (do.ClaimFolder(path, storage=request.name),) if path else ()
        content = contents.planned(site, request.name, request.import_, upload, ImportAs.NEW)
        return Plan(claim) + plan.plan_attach(
            snap, _doc(request, path, Claimed(path or "", made=False)), content
        )
    return _attach_new(site, snap, request, path, emit, upload), True


def _attach_new(
    site: Site, snap: Snapshot, request: StorageIn, path: str | None, emit: Emit, upload: Upload | None
) -> StorageOut:
    source, password = request.import_, request.import_password
    with (
        contents.opened(site, request.name, source, password, upload, ImportAs.NEW) as content,
        site.execution(snap, emit) as execution,
    ):
        content.give(execution)
        doc = _claimed(site, snap, execution, request, path)
        execution.run(plan.plan_attach(snap, doc, content.step))
    return _remembered(site, doc, show(site, request.name))


def _remembered(site: Site, doc: StorageDoc, out: StorageOut) -> StorageOut:
    """Note the id of a storage in a folder: by that alone it is known again elsewhere.

    The storage is attached by now: if this fails, the next `up` does it.
    """
    if doc.host_path is not None and doc.storage_id is None and out.storage_id is not None:
        try:
            site.documents.put(doc.model_copy(update={"storage_id": out.storage_id}))
        except (NeonError, OSError) as error:
            log.warning('the id of storage "%s" was not noted: %s', doc.name, error)
    return out


def _claimed(
    site: Site, snap: Snapshot, execution: Execution, request: StorageIn, path: str | None
) -> StorageDoc:
    """The new document, its folder claimed."""
    if path is None:
        volume = f"{site.stack}_storage_{request.name}"
        return _doc(request, None, Claimed("", made=snap.world.volume(volume) is None))
    execution.run(Plan((do.ClaimFolder(path, storage=request.name),)))
    claimed = execution.claimed
    assert claimed is not None
    everything = site.engine.observe(None, (Kind.CONTAINER,))
    check_unclaimed(claimed.path, site.stack, snap.desired, everything, "")
    has_content = request.import_ is not None or execution.chunks is not None
    if claimed.storage_id is not None and has_content:
        raise Conflict(
            f'folder "{claimed.path}" holds a storage already',
            hint="Attach it without an import, or name another folder.",
            code="storage_exists",
        )
    return _doc(request, path, claimed)


def _doc(request: StorageIn, path: str | None, claimed: Claimed) -> StorageDoc:
    doc = StorageDoc(
        name=request.name,
        type=request.type,
        path=path,
        host_path=claimed.path or None,
        made=claimed.made,
        fresh=claimed.made if path is None else claimed.storage_id is None,
        imported=request.import_,
        created_at=now(),
    )
    return _with_history(doc, request)


def _with_history(doc: StorageDoc, request: StorageIn) -> StorageDoc:
    given = {"history": request.history, "history_size": request.history_size}
    return doc.model_copy(update={key: value for key, value in given.items() if value is not None})


def _attached_before(
    site: Site,
    snap: Snapshot,
    doc: StorageDoc,
    request: StorageIn,
    path: str | None,
    upload: Upload | None,
    *,
    dry_run: bool,
) -> tuple[StorageOut, bool] | Plan:
    """Repeat is success, another spec a conflict that says what differs; but the history it keeps may change.
    Its pageserver starts anew with that, which pgs don't notice."""
    before = doc
    if path not in (doc.path, doc.host_path):
        moved = followed(site, snap, doc, path) if path else None
        if moved is None:
            raise _differs(doc, "path", doc.host_path or "(a volume)", path or "(a volume)")
        doc = moved
    if upload is not None or request.import_ not in (None, doc.imported):
        raise _differs(doc, "content", doc.imported or "(its own)", request.import_ or "(an upload)")
    change: list[do.Step] = []
    if doc != before:
        change.append(do.PutDocument(doc, before=before, why="its folder was moved"))
    if (kept := _with_history(doc, request)) != doc:
        change.append(do.PutDocument(kept, before=doc, why="it keeps another history"))
    doc = kept
    steps = Plan(tuple(change)) + plan.plan_pageserver(snap, doc)
    if dry_run:
        return steps
    with site.execution(snap) as execution:
        execution.run(steps)
    return _remembered(site, doc, show(site, doc.name)), False


def _differs(doc: StorageDoc, what: str, has: str, asked: str) -> Conflict:
    return Conflict(
        f'storage "{doc.name}" exists with another {what}',
        detail=f"It has {what} {has}; {asked} was asked for.",
        hint=f"Use another name, or detach it first: neon-compose storage detach -n {doc.name}\n"
        "A folder that was moved is followed once nothing of it is left at the old place."
        if what == "path"
        else f"Use another name, or detach it first: neon-compose storage detach -n {doc.name}",
        code="storage_exists",
    )


# ---- refreshing


def refresh(
    site: Site,
    name: str,
    request: StorageAction,
    emit: Emit = silent,
    upload: Upload | None = None,
    *,
    dry_run: bool = False,
) -> StorageOut | Plan:
    """Bring a newer copy of its source, or of `request.import_`, into `main`.

    What main was stays, as its snapshots and branches. Others may use the storage meanwhile; a failure
    leaves it as it was.
    """
    request = contents.without_password(request)
    if request.import_ is not None and not is_server(request.import_):
        check_host_path(request.import_, "import path")
    work = partial(_refresh, site, name, request, emit, upload, dry_run=dry_run)
    if dry_run:
        return work()
    what = f"refresh {name} {request.model_dump_json()}" + (f" upload {id(upload)}" if upload else "")
    alone, shared = frozenset({f"refresh of/{name}"}), frozenset({f"storage/{name}"})
    return site.locks.run(what, work, alone=alone, shared=shared)


def _refresh(
    site: Site, name: str, request: StorageAction, emit: Emit, upload: Upload | None, *, dry_run: bool
) -> StorageOut | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot()
    doc = snap.storage(name)
    source = None if upload is not None else request.import_ or doc.imported
    if upload is None and source is None:
        raise Invalid(
            f'storage "{name}" has no source to be read again',
            detail="It began empty, or with a dump that was sent.",
            hint=f"Name one: neon-compose storage import --refresh -n {name} SOURCE",
            code="no_source",
        )
    if dry_run:
        return plan.plan_refresh(snap, doc, contents.planned(site, name, source, upload, ImportAs.REFRESH))
    with (
        contents.opened(site, name, source, request.import_password, upload, ImportAs.REFRESH) as content,
        site.execution(snap, emit) as execution,
    ):
        content.give(execution)
        execution.run(plan.plan_refresh(snap, doc, content.step))
    return show(site, name)


# ---- detaching


def detach(site: Site, name: str, *, purge: bool, dry_run: bool = False) -> Plan:
    """The container goes, the data stays unless `purge`. `Conflict` with pgs on it."""

    def work() -> Plan:
        snap = site.snapshot()
        if name not in snap.desired.storages:
            snap.storage(name)
        doc = snap.desired.storages[name]
        gone = purge or doc.ending == "purge"  # that is finished, however it is asked for again
        steps = plan.plan_detach(snap, doc, purge=gone)
        if dry_run:
            return steps
        if gone and not doc.attaching:
            purging.begin(site, doc)
            snap = site.snapshot()
        with site.execution(snap) as execution:
            execution.run(plan.plan_detach(snap, snap.desired.storages[name], purge=gone))
        purging.forget_all(site)
        return steps

    return _locked(site, name, f"detach {name} {purge} {dry_run}", work)


def _locked(site: Site, name: str, what: str, work: Callable[[], Plan]) -> Plan:
    return site.locks.run(what, work, alone=frozenset({f"storage/{name}"}))
