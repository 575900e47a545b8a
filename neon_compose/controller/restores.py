"""A branch goes back in place: its name, its pg, and that pg's address stay, what it was is kept aside."""

from __future__ import annotations

from neon_compose.controller import branches, pgs, plan
from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc
from neon_compose.controller.execute import silent
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.reopening import start_again
from neon_compose.controller.serving import outliving, served
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import Conflict, Invalid, NeonError
from neon_compose.model.moments import parse_moment, settled
from neon_compose.model.names import kept_name
from neon_compose.model.states import Wanted
from neon_compose.wait import now
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.rest import BranchAction, BranchVerb, RestoredOut


def act(
    site: Site, storage: str, name: str, action: BranchAction, emit: Emit = silent, *, dry_run: bool = False
) -> RestoredOut | Plan:
    """Restore or reset the branch; a pg that runs on it is stopped meanwhile. If that fails it runs again.

    Raises `Invalid` code "bad_moment" or "no_moment", `Conflict`, and `NotFound` for a moment that is none.
    """
    moment = _moment_of(action)
    restore = do.RestoreBranch(storage, name, moment, action.keep or kept_name(name, now()))
    bound = _bound(site.snapshot(()), storage, name)

    def work() -> RestoredOut | Plan:
        return _restore(site, restore, {pg.name for pg in bound}, emit, dry_run=dry_run)

    return site.locks.run(
        f"{action.action} branch {storage}/{name} {action.to} {action.keep} {dry_run}",
        work if dry_run else lambda: outliving(site, storage, work),
        alone=frozenset({f"branch/{storage}/{name}", *(f"pg/{pg.name}" for pg in bound)}),
        shared=frozenset({f"storage/{storage}"}),
    )


def _moment_of(action: BranchAction) -> str | None:
    """Of the moment it came: see `branches.settled_source`."""
    if action.as_ is not None:
        raise Invalid(f'{action.action} takes no "as"', hint='Did you mean "keep"?', code="bad_action")
    if action.ttl is not None:
        raise Invalid(f"{action.action} takes no time to live", hint="Leave it out.", code="bad_action")
    if action.action is BranchVerb.RESET:
        if action.to is not None:
            raise Invalid(
                "a reset goes to the end of the parent", hint="Restore to a moment.", code="bad_moment"
            )
        return None
    if action.to is None:
        raise Invalid("a restore needs a moment", hint='Say it as "to", for example "5m".', code="no_moment")
    return str(settled(parse_moment(action.to), now()))


def _bound(snap: Snapshot, storage: str, branch: str) -> list[PgDoc]:
    snap.storage(storage)
    return [pg for pg in snap.desired.pgs_of(storage) if pg.branch == branch]


def _restore(
    site: Site, restore: do.RestoreBranch, held: set[str], emit: Emit, *, dry_run: bool
) -> RestoredOut | Plan:
    site.refuse_while_stopping()
    storage, name = restore.storage, restore.branch
    snap = site.snapshot()
    if not dry_run:
        snap = served(site, snap, storage)
    branches.start_of(snap, storage, name, None, branches.known(site, snap, storage, None))
    bound = _bound(snap, storage, name)
    if not {pg.name for pg in bound} <= held:  # it came after we looked whom to keep still
        raise Conflict(f'branch "{storage}/{name}" is busy', hint="Try again in a moment.", code="busy")
    up = [pg for pg in bound if pg.wanted is Wanted.RUNNING]
    for pg in [] if dry_run else up:
        snap = pgs.with_pod(site, snap, pg)
    steps = plan.plan_restore(snap, restore)
    if dry_run:
        return steps
    try:
        with site.execution(snap, emit) as execution:
            execution.run(steps)
    except NeonError:
        start_again(site, up)
        raise
    return RestoredOut(branch=branches.show(site, storage, name), kept=execution.kept or restore.keep)
