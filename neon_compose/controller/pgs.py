"""What can be asked of pgs: one function per request, each lock -> observe -> plan -> execute -> render."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from neon_compose.controller import branches, marks, plan, pods, render
from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc
from neon_compose.controller.execute import silent
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.pgrules import (
    check_available,
    check_durability,
    new_doc,
    refuse_ending,
    refuse_other_identity,
    updated_doc,
)
from neon_compose.controller.serving import outliving, served
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import Conflict, NeonError
from neon_compose.model.source import Source, parse_source
from neon_compose.model.states import PgState, Wanted
from neon_compose.wait import now
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.pageserver import ComputeStatus
from neon_compose.wire.rest import PgAction, PgIn, PgOut, PgUrl, PgVerb

T = TypeVar("T")

log = logging.getLogger(__name__)

_REFUSALS = ("has_writes", "doubtful", "data_lost")  # of a destroy, for what it would lose


# ---- reading


def show(site: Site, name: str) -> PgOut:
    snap = site.snapshot()
    doc = snap.pg(name)
    return render.pg_out(snap, doc, _status(site, snap, doc), work=site.locks.work_on(f"pg/{name}"))


def list_all(site: Site, snap: Snapshot | None = None) -> list[PgOut]:
    """By name; one call per storage."""
    snap = snap or site.snapshot()
    asked = site.workers.map(_computes, site.answering(snap).values())
    statuses = {one.pg: one for found in asked for one in found}
    return [
        render.pg_out(snap, doc, statuses.get(name), work=site.locks.work_on(f"pg/{name}"))
        for name, doc in sorted(snap.desired.pgs.items())
    ]


def url(site: Site, name: str) -> PgUrl:
    snap = site.snapshot()
    doc = snap.pg(name)
    credentials = site.pageserver(snap, doc.storage_name).credentials(doc.branch)
    return render.pg_url(snap, doc, credentials, _status(site, snap, doc))


def _computes(pageserver: Pageserver) -> list[ComputeStatus]:
    try:
        return pageserver.computes()
    except NeonError as error:
        log.warning("a pageserver does not list its computes: %s", error.message)
        return []


def _status(site: Site, snap: Snapshot, doc: PgDoc) -> ComputeStatus | None:
    try:
        return site.pageserver(snap, doc.storage_name).compute(doc.name)
    except NeonError:  # not running, or it knows no such compute yet
        return None


# ---- creating and changing


def put(
    site: Site, request: PgIn, emit: Emit = silent, *, dry_run: bool = False
) -> tuple[PgOut, bool] | Plan:
    """Make the pg (True), or bring it to what is asked (False); start it if `request.start`."""
    asked = request.model_dump_json()
    source = branches.settled_source(request.from_) if request.from_ is not None else None
    if source is not None:
        request = request.model_copy(update={"from_": str(source)})
    branch = request.branch or (request.name if source else "main")
    expiring = marks.expiring(request.storage_name, branch, request.ttl, now())
    on_branch = frozenset({f"branch/{request.storage_name}/{branch}"})
    alone, shared = frozenset({f"pg/{request.name}"}), frozenset({f"storage/{request.storage_name}"})
    if source is not None:
        alone |= on_branch
    else:  # so that nobody deletes it before the pg is known to be on it
        shared |= on_branch

    def work() -> tuple[PgOut, bool] | Plan:
        found = _put(site, request, branch, source, emit, dry_run=dry_run)
        if isinstance(found, Plan):
            return found + marks.plan(expiring)
        marks.make(site, expiring)
        return found

    if dry_run:
        return work()
    return site.locks.run(
        f"put pg {asked}",
        lambda: outliving(site, request.storage_name, work),
        alone=alone,
        shared=shared,
    )


def _put(
    site: Site, request: PgIn, branch: str, source: Source | None, emit: Emit, *, dry_run: bool
) -> tuple[PgOut, bool] | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot()
    check_durability(request.durability, len(snap.safekeepers))
    snap.storage(request.storage_name)
    if not dry_run:
        snap = served(site, snap, request.storage_name)
    before = snap.desired.pgs.get(request.name)
    if before is not None and before.ending and not dry_run:
        _finish_destroy(site, snap, before)
        snap, before = site.snapshot(), None
    if before is not None:
        refuse_other_identity(before, request, branch)
    note, start = None, None
    if before is None or not (before.started or before.home):
        known = branches.known(site, snap, request.storage_name, source)
        start = branches.start_of(snap, request.storage_name, branch, source, known)
        note = _other_primary(known, request, branch)
    asked = request.port or (before.port if before else None)
    if dry_run:
        port, snap, pod_steps = pods.previewed_port(snap, asked, request.name)
        return pod_steps + _put_plan(snap, before, request, branch, port, start)[1]
    with pods.reserved_port(site, snap, asked, request.name) as (port, snap):
        make, steps = _put_plan(snap, before, request, branch, port, start)
        with site.execution(snap, emit) as execution:
            execution.run(steps)
    site.workers.submit(keep_pods, site)
    if before is None and request.start:  # nobody has to be asked
        return render.pg_out(snap, make, state=PgState.RUNNING, more=note), True
    return _answer(site, request.name, note), before is None


def _put_plan(
    snap: Snapshot,
    before: PgDoc | None,
    request: PgIn,
    branch: str,
    port: int,
    start: plan.BranchStart | None,
) -> tuple[PgDoc, Plan]:
    """The document, and the way there; the pod of `port` runs in `snap`."""
    pod = snap.pod_of(port)
    ports = pod.ports if pod else (port,)
    if before is not None:
        make = updated_doc(before, request, port, ports)
    else:
        make = new_doc(request, branch, port, ports, len(snap.safekeepers))
    return make, (plan.plan_start if request.start else plan.plan_put)(snap, make, start)


def _other_primary(known: branches.Known, request: PgIn, branch: str) -> str | None:
    found = known.get(request.storage_name, {}).get(branch)
    writer = found.writer if found else None
    if writer is None or writer == request.name:
        return None
    return f'branch "{branch}" has a primary, pg "{writer}": destroy that before this one can start'


def _answer(site: Site, name: str, note: str | None = None) -> PgOut:
    """What just happened, without asking the pageserver again."""
    snap = site.snapshot()
    return render.pg_out(snap, snap.pg(name), more=note)


def keep_pods(site: Site) -> None:
    """In the background: one pod with free ports, no idle ones beside it."""
    try:
        pods.top_up(site)
        pods.trim(site)
    except NeonError as error:
        log.warning("pods could not be kept ready: %s (%s)", error.message, error.detail)


# ---- acting


def act(
    site: Site, name: str, action: PgAction, emit: Emit = silent, *, dry_run: bool = False
) -> PgOut | Plan:
    """Start, stop, restart, discard data; repeat is success. `Invalid` (code "not_available") for others."""
    check_available(action)
    what = f"{action.action} pg {name} {dry_run}"

    def work() -> PgOut | Plan:
        return _act(site, name, action.action, emit, dry_run=dry_run)

    if dry_run or action.action is PgVerb.STOP:
        return _locked(site, name, what, work)
    storage = site.snapshot(()).pg(name).storage_name
    return _locked(site, name, what, lambda: outliving(site, storage, work))


def _act(site: Site, name: str, verb: PgVerb, emit: Emit, *, dry_run: bool) -> PgOut | Plan:
    snap = site.snapshot()
    doc = snap.pg(name)
    refuse_ending(doc)
    pod_steps = Plan()
    if verb is not PgVerb.STOP:
        site.refuse_while_stopping()
        if verb is PgVerb.DISCARD_CACHE:
            snap = snap if dry_run else served(site, snap, doc.storage_name)
        elif dry_run:
            _, snap, pod_steps = pods.previewed_port(snap, doc.port, name)
        else:
            snap = with_pod(site, served(site, snap, doc.storage_name), doc)
    steps = pod_steps + _plan_of(site, snap, doc, verb)
    if dry_run:
        return steps
    with site.execution(snap, emit) as execution:
        execution.run(steps)
    return _answer(site, name)


def _plan_of(site: Site, snap: Snapshot, doc: PgDoc, verb: PgVerb) -> Plan:
    match verb:
        case PgVerb.STOP:
            return plan.plan_stop(snap, doc)
        case PgVerb.RESTART:
            return plan.plan_restart(snap, doc)
        case PgVerb.DISCARD_CACHE:
            return plan.plan_discard_cache(snap, doc)
        case _:
            return _start_plan(site, snap, doc)


def _start_plan(site: Site, snap: Snapshot, doc: PgDoc) -> Plan:
    """With its branch made if a crash came between its document and its branch."""
    return plan.plan_start(snap, doc, _missing_start(site, snap, doc))


def _missing_start(site: Site, snap: Snapshot, doc: PgDoc) -> plan.BranchStart | None:
    """Where its branch is to be made, None if that is there or can't be missing.

    A start is written down before it makes the branch, and its container comes after that.
    """
    if doc.from_ is None or doc.home or (doc.started and snap.compute(doc.name) is not None):
        return None
    source = parse_source(doc.from_)
    known = branches.known(site, snap, doc.storage_name, source)
    if doc.branch in known.get(doc.storage_name, {}):
        return None
    return branches.start_of(snap, doc.storage_name, doc.branch, source, known)


def with_pod(site: Site, snap: Snapshot, doc: PgDoc) -> Snapshot:
    """A snapshot in which the pod of `doc` runs."""
    pod = snap.pod_of(doc.port)
    if pod is not None and pod.running:
        return snap
    failed = pods.restore(site, [doc])
    if doc.name in failed:
        raise failed[doc.name]
    return site.snapshot()


def destroy(site: Site, name: str, *, discard_writes: bool, dry_run: bool = False) -> Plan:
    """Its compute and data go, the branch stays. `Conflict` while it runs, or if it has writes."""

    def work() -> Plan:
        snap = site.snapshot()
        doc = snap.pg(name)
        steps = plan.plan_destroy(snap, doc, discard_writes=discard_writes)
        if not dry_run:
            with _kept_if_refused(site, doc), site.execution(snap) as execution:
                execution.run(steps)
            site.workers.submit(keep_pods, site)
        return steps

    return _locked(site, name, f"destroy pg {name} {discard_writes} {dry_run}", work)


def finish(site: Site, name: str) -> None:
    """What a controller that died in a request about the pg left half done is brought to its end: a destroy,
    a stop, or making its branch."""

    def work() -> None:
        snap = site.snapshot()
        doc = snap.pg(name)
        if doc.ending:
            _finish_destroy(site, snap, doc)
        elif doc.wanted is Wanted.STOPPED:
            with site.execution(snap) as execution:
                execution.run(plan.plan_stop(snap, doc) + _missing_branch(site, snap, doc))

    site.locks.run_unasked(f"finish pg {name}", work, **_names(site, name))


def _finish_destroy(site: Site, snap: Snapshot, doc: PgDoc) -> None:
    discard_writes = doc.ending == "discard"
    with _kept_if_refused(site, doc), site.execution(snap) as execution:
        execution.run(plan.plan_destroy(snap, doc, discard_writes=discard_writes))


@contextmanager
def _kept_if_refused(site: Site, doc: PgDoc) -> Iterator[None]:
    """A destroy that is refused for what it would lose has deleted nothing. If one that was cut off
    before it was refused is taken up again, the pg is an ordinary one again, which can be started."""
    try:
        yield
    except Conflict as error:
        if doc.ending == "refuse" and error.code in _REFUSALS:
            site.documents.put(doc.model_copy(update={"ending": None, "wanted": Wanted.STOPPED}))
        raise


def _missing_branch(site: Site, snap: Snapshot, doc: PgDoc) -> Plan:
    start = _missing_start(site, snap, doc)
    if start is None:
        return Plan()
    return Plan((do.PutBranch(doc.storage_name, doc.branch, start.origin, fresh=True),))


def _locked(site: Site, name: str, what: str, work: Callable[[], T]) -> T:
    return site.locks.run(what, work, **_names(site, name))


def _names(site: Site, name: str) -> Mapping[str, frozenset[str]]:
    """What a request about the pg holds."""
    storage = site.snapshot(()).pg(name).storage_name
    return {"alone": frozenset({f"pg/{name}"}), "shared": frozenset({f"storage/{storage}"})}
