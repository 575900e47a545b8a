"""A pg goes to another branch of its storage, and keeps its name and address."""

from __future__ import annotations

from neon_compose.controller import branches, pgs, plan, render
from neon_compose.controller.desired import PgDoc
from neon_compose.controller.execute import silent
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pgrules import refuse_ending
from neon_compose.controller.reopening import start_again
from neon_compose.controller.serving import outliving, served
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import Conflict, NeonError
from neon_compose.model.states import Durability, Wanted
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.rest import PgOut

BEFORE = "-"  # the branch it was on before


def checkout(
    site: Site, name: str, branch: str, emit: Emit = silent, *, dry_run: bool = False
) -> PgOut | Plan:
    """Have the pg on `branch`; one that runs is stopped meanwhile. Repeat is success.

    Raises `NotFound` for a branch that is none, `Conflict` code "writer" if another pg writes to it,
    "has_writes" if the old branch's writes are in the pg's data directory only, "no_previous".
    """
    doc = site.snapshot(()).pg(name)
    target = _target(doc, branch)

    def work() -> PgOut | Plan:
        return _checkout(site, name, target, emit, dry_run=dry_run)

    storage = doc.storage_name
    return site.locks.run(
        f"checkout pg {name} {target} {dry_run}",
        work if dry_run else lambda: outliving(site, storage, work),
        alone=frozenset({f"pg/{name}"}),
        shared=frozenset(
            {f"storage/{storage}", *(f"branch/{storage}/{one}" for one in (doc.branch, target))}
        ),
    )


def _target(doc: PgDoc, branch: str) -> str:
    if branch != BEFORE:
        return branch
    if doc.previous is None:
        raise Conflict(f'pg "{doc.name}" was on no other branch before', hint="Name one.", code="no_previous")
    return doc.previous


def _checkout(site: Site, name: str, branch: str, emit: Emit, *, dry_run: bool) -> PgOut | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot()
    doc = snap.pg(name)
    refuse_ending(doc)
    if not dry_run:
        snap = served(site, snap, doc.storage_name)
    known = branches.known(site, snap, doc.storage_name, None)
    branches.start_of(snap, doc.storage_name, branch, None, known)
    _refuse_other_writer(known, doc, branch)
    if doc.wanted is Wanted.RUNNING and not dry_run:
        snap = pgs.with_pod(site, snap, doc)
    steps = plan.plan_checkout(snap, doc, branch)
    if branch != doc.branch:
        _refuse_loss(snap, known, doc)
    if dry_run:
        return steps
    try:
        with site.execution(snap, emit) as execution:
            execution.run(steps)
    except NeonError:
        start_again(site, [doc] if doc.wanted is Wanted.RUNNING else [])
        raise
    snap = site.snapshot()
    return render.pg_out(snap, snap.pg(name))


def _refuse_other_writer(known: branches.Known, doc: PgDoc, branch: str) -> None:
    writer = known[doc.storage_name][branch].writer
    if writer not in (None, doc.name):
        raise Conflict(
            f'branch "{branch}" has the primary "{writer}"',
            detail="A branch has one primary, also while that is stopped.",
            hint=f"Make a branch of it: neon-compose branch create NAME --from {doc.storage_name}/{branch}; "
            f"or stop the other and give it up, the branch stays: neon-compose pg destroy {writer}",
            code="writer",
        )


def _refuse_loss(snap: Snapshot, known: branches.Known, doc: PgDoc) -> None:
    """Before it is stopped; the pageserver has the last word, and knows more."""
    held = known[doc.storage_name].get(doc.branch)
    seen = snap.compute(doc.name)
    up = seen is not None and seen.running
    if up and held and held.has_writes and snap.as_started(doc).durability is not Durability.QUORUM:
        raise Conflict(
            f'pg "{doc.name}" has writes',
            detail="It runs under durability local: its data directory is their only copy, and would go.",
            hint="Run it under durability quorum first: then safekeepers have its writes too.",
            code="has_writes",
        )
