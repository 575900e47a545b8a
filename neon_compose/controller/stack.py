"""The stack as a whole: brought to its stack file, brought back, stopped in order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network

from neon_compose.controller import contents, pgs, plan, probe, specs, storages
from neon_compose.controller import steps as do
from neon_compose.controller.bringup import bring_up, pg_in, storage_in
from neon_compose.controller.desired import StackDoc
from neon_compose.controller.execute import silent
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pgrules import new_doc
from neon_compose.controller.progress import Progress
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.engine.runtime import EVERYTHING
from neon_compose.errors import NeonError
from neon_compose.model.stackfile import StackFile, parse_stack
from neon_compose.wait import Deadline, until
from neon_compose.wire.events import EventKind
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.rest import PgAction, PgVerb, StackIn, StackOut

log = logging.getLogger(__name__)

_BRING_BACK_S = 300.0
_IDLE_S = 30.0
_ALONE = frozenset({"stack"})


# ---- up


def apply(site: Site, request: StackIn, emit: Emit = silent) -> StackOut:
    """Bring the stack to the stack file in `request`. Removes nothing the file lacks, unless `prune`.

    A stack file that is wrong raises `Invalid` with all its problems before anything happens.
    """
    file, request = _without_passwords(parse_stack(request.config, where="the request"), request)
    what = f"stack {request.model_dump_json()}"
    return site.locks.run(what, lambda: _apply(site, request, file, emit), alone=_ALONE)


def _without_passwords(file: StackFile, request: StackIn) -> tuple[StackFile, StackIn]:
    """Passwords of servers to import from apart from their addresses, which are written down."""
    found, passwords = dict(file.storages), dict(request.passwords)
    for name, spec in file.storages.items():
        asked = contents.without_password(storage_in(name, spec, passwords.get(name)))
        found[name] = spec.model_copy(update={"import_": asked.import_})
        if asked.import_password is not None:
            passwords[name] = asked.import_password
    file = file.model_copy(update={"storages": found})
    return file, request.model_copy(update={"config": file.as_document(), "passwords": passwords})


def _apply(site: Site, request: StackIn, file: StackFile, emit: Emit) -> StackOut:
    until("the controller's own start", site.ready.is_set, Deadline.after(_BRING_BACK_S))
    progress = Progress(emit)
    site.events.tell(EventKind.STACK_STARTING, site.stack)
    with site.starting():
        before = site.documents.read().stack
        doc = StackDoc(
            config=file.as_document(),
            images={**before.images, **request.images},
            safekeepers=max(before.safekeepers, file.safekeepers),
        )
        if doc != before:
            site.documents.put(doc)
        bring_up(site, file, file, progress, request.passwords)
        if request.prune:
            _prune(site, file, progress)
    snap = site.snapshot()
    _brought_up(site, progress)
    return StackOut(
        stack=site.stack,
        pgs=pgs.list_all(site, snap),
        storages=storages.list_all(site, snap),
        problems=progress.problems,
        notes=list(_notes(doc, file)),
    )


def _notes(doc: StackDoc, file: StackFile) -> Iterator[str]:
    """What is not as the file says, and not wrong."""
    have, asked = doc.safekeepers, file.safekeepers
    if have > asked:
        yield f"the stack keeps its {have} safekeepers, though its file asks for {asked}: WAL is there"


def _prune(site: Site, file: StackFile, progress: Progress) -> None:
    """What the file lacks goes: pgs without writes, then storages, whose data stays."""
    desired = site.documents.read()
    for name in sorted(desired.pgs.keys() - file.pgs.keys()):
        progress.attempt(f"prune pg {name}", partial(_prune_pg, site, name))
    for name in sorted(desired.storages.keys() - file.storages.keys()):
        detach = partial(storages.detach, site, name, purge=False)
        progress.attempt(f"prune storage {name}", detach)


def _prune_pg(site: Site, name: str) -> None:
    pgs.act(site, name, PgAction(action=PgVerb.STOP))
    pgs.destroy(site, name, discard_writes=False)


def dry_run(site: Site, request: StackIn) -> Plan:
    """What `apply` would do about what the file names and what exists, as far as can be said before."""
    file = parse_stack(request.config, where="the request")
    snap = _asked_for(site.snapshot(EVERYTHING), file)
    subnet = next((IPv4Network(one.subnets[0]) for one in snap.world.networks if one.subnets), None)
    plans = [plan.plan_safekeeper(snap, number, subnet) for number in snap.safekeepers if subnet]
    plans += [plan.plan_pageserver(snap, doc) for doc in snap.desired.storages.values()]
    for name in file.storages.keys() - snap.desired.storages.keys():
        found = storages.attach(site, storage_in(name, file.storages[name]), dry_run=True)
        plans += [found] if isinstance(found, Plan) else []
    for name, pg in file.pgs.items():
        if name not in snap.desired.pgs:
            draft = new_doc(pg_in(name, pg), pg.branch_for(name), pg.port or 0, (), len(snap.safekeepers))
            plans.append(Plan((do.PutDocument(draft, why="it is in the stack file"),)))
        elif pg.start and snap.compute(name) is None:
            plans.append(Plan((do.StartContainer(specs.compute_name(site.stack, name)),)))
    return sum(plans, Plan())


def _asked_for(snap: Snapshot, file: StackFile) -> Snapshot:
    """`snap` as if the stack had as many safekeepers as it will have."""
    stack = snap.desired.stack
    stack = stack.model_copy(update={"safekeepers": max(stack.safekeepers, file.safekeepers)})
    return replace(snap, desired=replace(snap.desired, stack=stack))


def bring_back(site: Site) -> None:
    """What a controller does first: what its documents want is running again. Never raises."""
    progress = Progress()
    site.events.tell(EventKind.STACK_STARTING, site.stack)
    try:
        with site.starting():
            probe.sweep(site.engine, site.stack)
            config = site.documents.read().stack.config
            if config:
                bring_up(site, parse_stack(config, where="stack.json"), None, progress)
    except NeonError as error:
        progress.failed("the stack could not be brought back", error)
    finally:
        _brought_up(site, progress)
        site.ready.set()


def _brought_up(site: Site, progress: Progress) -> None:
    site.problems, site.failures = progress.titles, progress.problems
    site.events.tell(EventKind.STACK_READY, site.stack, "; ".join(progress.titles) or None)


# ---- down


def stop(site: Site, emit: Emit = silent) -> StackOut:
    """Stop everything but the controller, in order; what documents want stays as it is.

    New requests are refused from now on, running ones get a moment to end.
    """
    return site.locks.run("stop stack", lambda: _stop(site, emit), alone=frozenset({"stop"}))


def _stop(site: Site, emit: Emit) -> StackOut:
    site.phase = "stopping"
    site.events.tell(EventKind.STACK_STOPPING, site.stack)
    progress = Progress(emit)
    progress.attempt("running requests", lambda: _await_idle(site))
    snap = site.snapshot()
    for name, stage in plan.plan_stop_all(snap):
        progress.attempt(f"stop {name}", partial(site.execution(snap, emit).run, stage))
    site.phase = "stopped"
    site.events.tell(EventKind.STACK_STOPPED, site.stack, "; ".join(progress.titles) or None)
    return StackOut(stack=site.stack, problems=progress.problems)


def _await_idle(site: Site) -> None:
    until("running requests", lambda: site.locks.idle("stop"), Deadline.after(_IDLE_S))


def stop_plan(site: Site) -> Plan:
    return sum((stage for _, stage in plan.plan_stop_all(site.snapshot())), Plan())
