"""What can be asked of storages: one function per request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from pydantic import SecretStr

from neon_compose.controller import plan, render
from neon_compose.controller import steps as do
from neon_compose.controller.desired import StorageDoc
from neon_compose.controller.dumps import opened_dump
from neon_compose.controller.execute import Execution, silent
from neon_compose.controller.fetching import Origin
from neon_compose.controller.folder import Claimed
from neon_compose.controller.hostpath import check_host_path, check_unclaimed
from neon_compose.controller.moved import followed
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.engine.runtime import EVERYTHING, Kind
from neon_compose.errors import Conflict, Invalid, NeonError
from neon_compose.model.names import parse_name
from neon_compose.model.origin import Server, is_server
from neon_compose.model.states import StorageType
from neon_compose.wait import now
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.pageserver import StorageStatus
from neon_compose.wire.rest import StorageIn, StorageOut

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upload:
    """A dump that comes with the request: `chunks` end with it, or raise when the client is gone."""

    format: str
    chunks: Iterator[bytes]


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
    request = without_password(request)
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
    return None if request.path is None else check_host_path(request.path)


def _attach(
    site: Site, request: StorageIn, path: str | None, emit: Emit, upload: Upload | None, *, dry_run: bool
) -> tuple[StorageOut, bool] | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot(EVERYTHING)
    doc = snap.desired.storages.get(request.name)
    if doc is not None and (doc.attaching or doc.ending):  # a controller died in the middle of it
        with site.execution(snap) as execution:
            execution.run(plan.plan_abandon(snap, doc))
        snap, doc = site.snapshot(EVERYTHING), None
    if doc is not None:
        return _attached_before(site, snap, doc, request, path, upload, dry_run=dry_run)
    if path is not None:
        check_unclaimed(path, site.stack, snap.desired, site.engine.observe(None, (Kind.CONTAINER,)), "")
    if dry_run:
        claim = (do.ClaimFolder(path, storage=request.name),) if path else ()
        return Plan(claim) + plan.plan_attach(
            snap, _doc(request, path, Claimed(path or "", made=False)), _content(site, request, upload)
        )
    return _attach_new(site, snap, request, path, emit, upload), True


def _attach_new(
    site: Site, snap: Snapshot, request: StorageIn, path: str | None, emit: Emit, upload: Upload | None
) -> StorageOut:
    source = request.import_
    file = source if source and not is_server(source) else None
    dump = opened_dump(site.engine, site.stack, site.probe_image(), file) if file else nullcontext(None)
    with dump as found, site.execution(snap, emit) as execution:
        content: do.Initialise | do.ImportDump | do.ImportOrigin = do.Initialise(request.name)
        if upload is not None:
            content, execution.chunks = do.ImportDump(request.name, format=upload.format), upload.chunks
        elif found is not None:
            content, execution.chunks = do.ImportDump(request.name, format=found[0]), found[1]
        elif source is not None:
            execution.origin = _origin(request)
            content = do.ImportOrigin(request.name, image=site.image("pageserver"))
        doc = _claimed(site, snap, execution, request, path)
        execution.run(plan.plan_attach(snap, doc, content))
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


def _content(
    site: Site, request: StorageIn, upload: Upload | None
) -> do.Initialise | do.ImportDump | do.ImportOrigin:
    if upload is None and request.import_ is None:
        return do.Initialise(request.name)
    if request.import_ is not None and is_server(request.import_):
        return do.ImportOrigin(request.name, image=site.image("pageserver"))
    return do.ImportDump(request.name, format=upload.format if upload else "auto")


def _origin(request: StorageIn) -> Origin:
    source, password = request.import_ or "", request.import_password
    if not is_server(source):
        return Origin(folder=source)
    return Origin(replace(Server.parse(source), password=password.get_secret_value() if password else None))


def without_password(request: StorageIn) -> StorageIn:
    """The request with a server's password apart from its address. Raises `Invalid` for a bad address."""
    if request.import_ is None or not is_server(request.import_):
        return request
    server = Server.parse(request.import_)
    changes: dict[str, object] = {"import_": str(server)}
    if server.password is not None:
        changes["import_password"] = SecretStr(server.password)
    return request.model_copy(update=changes)


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
    return StorageDoc(
        name=request.name,
        type=request.type,
        path=path,
        host_path=claimed.path or None,
        made=claimed.made,
        fresh=claimed.made if path is None else claimed.storage_id is None,
        imported=request.import_,
        created_at=now(),
    )


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
    """Repeat is success, another spec a conflict that says what differs."""
    before = doc
    if path not in (doc.path, doc.host_path):
        moved = followed(site, snap, doc, path) if path else None
        if moved is None:
            raise _differs(doc, "path", doc.host_path or "(a volume)", path or "(a volume)")
        doc = moved
    if upload is not None or request.import_ not in (None, doc.imported):
        raise _differs(doc, "content", doc.imported or "(its own)", request.import_ or "(an upload)")
    move = (do.PutDocument(doc, before=before, why="its folder was moved"),) if doc != before else ()
    steps = Plan(move) + plan.plan_pageserver(snap, doc)
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


# ---- detaching


def detach(site: Site, name: str, *, purge: bool, dry_run: bool = False) -> Plan:
    """The container goes, the data stays unless `purge`. `Conflict` with pgs on it."""

    def work() -> Plan:
        snap = site.snapshot()
        if name not in snap.desired.storages:
            snap.storage(name)
        steps = plan.plan_detach(snap, snap.desired.storages[name], purge=purge)
        if not dry_run:
            with site.execution(snap) as execution:
                execution.run(steps)
        return steps

    return _locked(site, name, f"detach {name} {purge} {dry_run}", work)


def _locked(site: Site, name: str, what: str, work: Callable[[], Plan]) -> Plan:
    return site.locks.run(what, work, alone=frozenset({f"storage/{name}"}))
