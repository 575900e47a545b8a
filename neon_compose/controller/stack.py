"""The stack as a whole: brought to its stack file, brought back, stopped in order.

Each storage and pg is brought up on its own: one that fails is reported and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from neon_compose.controller import minio, network, pgs, plan, pods, probe, specs, storages
from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc, StackDoc, StorageDoc
from neon_compose.controller.execute import silent
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.engine.runtime import EVERYTHING
from neon_compose.errors import NeonError, as_problem
from neon_compose.model.stackfile import PgSpec, StackFile, StorageSpec, parse_stack
from neon_compose.model.states import Wanted
from neon_compose.wait import Deadline, until
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.ndjson import Step as Event
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StackIn, StackOut, StorageIn

log = logging.getLogger(__name__)

_BRING_UP_S = 300.0
_IDLE_S = 30.0
_MINIO_S = 30.0
_ALONE = frozenset({"stack"})


@dataclass
class Progress:
    """Where a run over many things reports to: steps to `emit`, failures to `problems`."""

    emit: Emit = silent
    problems: list[dict[str, Any]] = field(default_factory=list)

    def attempt(self, name: str, work: Callable[[], object]) -> None:
        """Do `work`; its failure becomes a problem that starts with `name`."""
        self.emit(Event(name=name, state="start"))
        try:
            work()
        except NeonError as error:
            log.warning("%s: %s (%s)", name, error.message, error.detail)
            self.problems.append(as_problem(error) | {"title": f"{name}: {error.message}"})
            self.emit(Event(name=name, state="done", note=error.message))
            return
        self.emit(Event(name=name, state="done"))


# ---- up


def apply(site: Site, request: StackIn, emit: Emit = silent) -> StackOut:
    """Bring the stack to the stack file in `request`. Removes nothing the file lacks, unless `prune`.

    A stack file that is wrong raises `Invalid` with all its problems before anything happens.
    """
    wanted = parse_stack(request.config, where="the request")
    what = f"stack {request.model_dump_json()}"
    return site.locks.run(what, lambda: _apply(site, request, wanted, emit), alone=_ALONE)


def _apply(site: Site, request: StackIn, wanted: StackFile, emit: Emit) -> StackOut:
    until("the controller's own start", site.ready.is_set, Deadline.after(_BRING_UP_S))
    site.busy = "starting"
    try:
        before = site.documents.read().stack
        doc = StackDoc(config=wanted.as_document(), images={**before.images, **request.images})
        if doc != before:
            site.documents.put(doc)
        progress = Progress(emit)
        _bring_up(site, wanted, progress)
        if request.prune:
            _prune(site, wanted, progress)
    finally:
        site.busy = None
    return _out(site, progress)


def dry_run(site: Site, request: StackIn) -> Plan:
    """What `apply` would do about what the file names and what exists, as far as can be said before."""
    wanted = parse_stack(request.config, where="the request")
    snap = site.snapshot(EVERYTHING)
    plans = [plan.plan_pageserver(snap, doc) for doc in snap.desired.storages.values()]
    for name, storage in wanted.storages.items():
        if name not in snap.desired.storages:
            found = storages.attach(site, _storage_in(name, storage), dry_run=True)
            plans += [found] if isinstance(found, Plan) else []
    for name, pg in wanted.pgs.items():
        doc = snap.desired.pgs.get(name)
        if doc is None:
            why = f"it is in the stack file, on branch {pg.branch_for(name)}"
            plans.append(Plan((do.PutDocument(_draft(name, pg), why=why),)))
        elif snap.compute(name) is None and pg.start:
            plans.append(Plan((do.StartContainer(specs.compute_name(site.stack, name)),)))
    return sum(plans, Plan())


def _draft(name: str, pg: PgSpec) -> PgDoc:
    from neon_compose.controller.pgrules import new_doc

    return new_doc(_pg_in(name, pg), pg.branch_for(name), pg.port or 0, ())


def bring_back(site: Site) -> None:
    """What a controller does first: what its documents want is running again. Never raises."""
    progress = Progress()
    desired = site.documents.read()
    site.busy = "starting"
    try:
        probe.sweep(site.engine, site.stack)
        if desired.stack.config:
            _bring_up(site, parse_stack(desired.stack.config, where="stack.json"), progress, adopt=False)
    except NeonError as error:
        log.error("the stack could not be brought back: %s (%s)", error.message, error.detail)
        progress.problems.append(as_problem(error))
    finally:
        site.busy = None
        site.problems = [str(problem["title"]) for problem in progress.problems]
        site.ready.set()


def _bring_up(site: Site, wanted: StackFile, progress: Progress, *, adopt: bool = True) -> None:
    """`adopt`: make what the stack file names and no document does."""
    name = specs.network_name(site.stack)
    progress.emit(Event(name=f"network {name}", state="start"))
    network.ensure_network(site.engine, site.stack, site.image("base"), site.me)
    progress.emit(Event(name=f"network {name}", state="done"))
    desired = site.documents.read()
    _each(site, progress, "storage", desired.storages.values(), lambda doc: _serve(site, doc))
    if adopt:
        for request in (_storage_in(*named) for named in wanted.storages.items()):
            attach = partial(storages.attach, site, request, progress.emit)
            progress.attempt(f"storage {request.name}", attach)
    _restore_pods(site, progress)
    _start_pgs(site, wanted, progress, adopt=adopt)
    _serve_minio(site, wanted, progress)


def _each(
    site: Site, progress: Progress, what: str, docs: Iterable[Any], work: Callable[[Any], object]
) -> None:
    """Beside each other."""
    list(site.workers.map(lambda doc: progress.attempt(f"{what} {doc.name}", lambda: work(doc)), list(docs)))


def _serve(site: Site, doc: StorageDoc) -> None:
    """The pageserver of a document runs; an attach that a crash cut off is undone."""
    snap = site.snapshot()
    with site.execution(snap) as execution:
        if doc.attaching:
            execution.run(plan.plan_abandon(snap, doc))
        else:
            execution.run(plan.plan_pageserver(snap, doc))


def _restore_pods(site: Site, progress: Progress) -> None:
    docs = site.documents.read().pgs.values()
    for name, error in pods.restore(site, docs).items():
        progress.problems.append(as_problem(error) | {"title": f"pg {name}: {error.message}"})
    progress.attempt("pod", lambda: pods.top_up(site))


def _start_pgs(site: Site, wanted: StackFile, progress: Progress, *, adopt: bool) -> None:
    desired = site.documents.read()
    if adopt:
        for request in (_pg_in(*named) for named in wanted.pgs.items()):
            progress.attempt(f"pg {request.name}", partial(pgs.put, site, request))
    named = wanted.pgs if adopt else {}
    others = [doc for doc in desired.pgs.values() if doc.name not in named and doc.wanted is Wanted.RUNNING]
    _each(site, progress, "pg", others, lambda doc: _start(site, doc))


def _start(site: Site, doc: PgDoc) -> None:
    snap = site.snapshot()
    seen = snap.compute(doc.name)
    if seen is not None and seen.running and not snap.cut_off(seen):
        with site.execution(snap) as execution:
            execution.run(plan.plan_reopen(snap, doc))
        return
    pgs.act(site, doc.name, PgAction(action=PgVerb.START))


def _serve_minio(site: Site, wanted: StackFile, progress: Progress) -> None:
    """MinIO's image may come later: then the next PUT /stack starts it."""
    snap = site.snapshot()
    seen, image = snap.minio(), snap.images.get("minio")
    if not wanted.minio:
        if seen is not None:
            stop = (do.StopContainer(seen.name, specs.MINIO_STOP_S), do.Remove(seen.name))
            progress.attempt("minio", lambda: site.execution(snap).run(Plan(stop)))
        return
    if image:
        progress.attempt("minio", lambda: _start_minio(site))


def _start_minio(site: Site) -> None:
    snap = site.snapshot(EVERYTHING)
    user, password = plan.secret(snap, "minio_root_user"), plan.secret(snap, "minio_root_password")
    spec = specs.minio_spec(site.stack, snap.image("minio"), user, password)
    volume = specs.minio_volume(site.stack)
    fresh = snap.world.volume(volume.name) is None
    service = plan.plan_service(spec, snap.minio())
    with site.execution(snap) as execution:
        execution.run(Plan((do.MakeVolume(volume, fresh=fresh),)) + service)
        address = until(
            "MinIO",
            lambda: _healthy_minio(site),
            Deadline.after(_MINIO_S),
            last_words=lambda: "\n".join(site.engine.logs(spec.name)),
        )
        minio.set_up(address, site.secrets)


def _healthy_minio(site: Site) -> str | None:
    snap = site.snapshot()
    address = snap.address(snap.minio())
    return address if address is not None and minio.healthy(address) else None


def _storage_in(name: str, spec: StorageSpec) -> StorageIn:
    return StorageIn(name=name, type=spec.type, path=spec.path, import_=spec.import_)


def _pg_in(name: str, spec: PgSpec) -> PgIn:
    return PgIn(
        name=name,
        storage_name=spec.storage_name,
        branch=spec.branch,
        from_=spec.from_,
        port=spec.port,
        settings=dict(spec.settings),
        durability=spec.durability,
        start=spec.start,
    )


def _prune(site: Site, wanted: StackFile, progress: Progress) -> None:
    """What the file lacks goes: pgs without writes, then storages, whose data stays."""
    desired = site.documents.read()
    for name in sorted(desired.pgs.keys() - wanted.pgs.keys()):
        progress.attempt(f"prune pg {name}", partial(_prune_pg, site, name))
    for name in sorted(desired.storages.keys() - wanted.storages.keys()):
        detach = partial(storages.detach, site, name, purge=False)
        progress.attempt(f"prune storage {name}", detach)


def _prune_pg(site: Site, name: str) -> None:
    pgs.act(site, name, PgAction(action=PgVerb.STOP))
    pgs.destroy(site, name, discard_writes=False)


def _out(site: Site, progress: Progress) -> StackOut:
    snap = site.snapshot()
    site.problems = [str(problem["title"]) for problem in progress.problems]
    return StackOut(
        stack=site.stack,
        pgs=pgs.list_all(site, snap),
        storages=storages.list_all(site, snap),
        problems=progress.problems,
    )


# ---- down


def stop(site: Site, emit: Emit = silent) -> StackOut:
    """Stop everything but the controller, in order; what documents want stays as it is.

    New requests are refused from now on, running ones get a moment to end.
    """
    return site.locks.run("stop stack", lambda: _stop(site, emit), alone=frozenset({"stop"}))


def _stop(site: Site, emit: Emit) -> StackOut:
    site.busy = "stopping"
    progress = Progress(emit)
    progress.attempt("running requests", lambda: _await_idle(site))
    snap = site.snapshot()
    for stage in plan.plan_stop_all(snap):
        with site.execution(snap, emit) as execution:
            progress.attempt("stop", partial(execution.run, stage))
    site.busy = "stopped"
    return StackOut(stack=site.stack, problems=progress.problems)


def _await_idle(site: Site) -> None:
    until("running requests", lambda: site.locks.idle("stop"), Deadline.after(_IDLE_S))


def stop_plan(site: Site) -> Plan:
    return sum(plan.plan_stop_all(site.snapshot()), Plan())
