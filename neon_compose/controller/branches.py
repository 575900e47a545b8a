"""What can be asked of branches, and where a pg's branch starts."""

from __future__ import annotations

from collections.abc import Mapping

from neon_compose.controller import marks, plan, render, undeletes
from neon_compose.controller import steps as do
from neon_compose.controller.marks import MarkBranch
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.plan import BranchStart
from neon_compose.controller.site import Site
from neon_compose.controller.sources import resolve
from neon_compose.controller.steps import Plan
from neon_compose.errors import Invalid, NotFound
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.source import Source, parse_source
from neon_compose.wait import now
from neon_compose.wire.chronicle import BranchLog
from neon_compose.wire.pageserver import Branch
from neon_compose.wire.rest import BranchAction, BranchOut

Known = Mapping[str, Mapping[str, Branch]]  # storage -> branch name -> branch


def known(site: Site, snap: Snapshot, storage: str, source: Source | None) -> Known:
    """The branches of `storage` and, for a bare source, of all storages that answer."""
    servers = {storage: site.pageserver(snap, storage)}
    if source is not None and source.storage is None:
        servers = site.answering(snap)
    if len(servers) == 1:
        found = [server.branches() for server in servers.values()]
    else:
        found = list(site.workers.map(lambda server: server.branches(), servers.values()))
    return {name: {one.name: one for one in branches} for name, branches in zip(servers, found, strict=True)}


def start_of(
    snap: Snapshot, storage: str, branch: str, source: Source | None, known: Known
) -> BranchStart | None:
    """Where `branch` starts by `source`; None without a source, when the branch has to be there."""
    there = branch in known.get(storage, {})
    if source is None:
        if not there:
            raise _no_branch(storage, branch, known)
        return None
    return BranchStart(origin_of(snap, storage, source, known), there)


def origin_of(snap: Snapshot, storage: str, source: Source, known: Known) -> Source:
    """What `source` means; it must be in `storage`."""
    origin = resolve(source, snap.desired, known)
    if origin.storage != storage:
        raise Invalid(
            f'source "{source}" is in storage "{origin.storage}", not in "{storage}"',
            detail="A branch shares its parent's layers, so it is in the same storage.",
            hint=f'Name storage "{origin.storage}" instead.',
            code="other_storage",
        )
    return origin


def settled_source(text: str) -> Source:
    """The source that a request names, at a moment that stays.

    Here and nowhere later: the lock that joins identical requests goes by the words that came in, all that is
    stored, tried again after an error or finished by the next controller goes by what they meant when they
    came. So `shop@5m` is one start however long its making takes and however often it is cut off.
    """
    return parse_source(text).settled(now())


def _no_branch(storage: str, branch: str, known: Known) -> NotFound:
    return NotFound(
        f'branch "{storage}/{branch}" does not exist',
        detail=did_you_mean(branch, known.get(storage, {})),
        hint='To make it, say what it starts from ("from"): [STORAGE/]NAME[@MOMENT].',
        code="no_such_branch",
    )


# ---- requests


def list_of(site: Site, storage: str) -> list[BranchOut]:
    server = site.pageserver(site.snapshot(), storage)
    sizes = {one.name: one.own_bytes for one in server.sizes()}
    return [render.branch_out(storage, one, sizes.get(one.name)) for one in server.branches()]


def show(site: Site, storage: str, name: str) -> BranchOut:
    snap = site.snapshot()
    found = known(site, snap, storage, None)
    if name not in found[storage]:
        raise _no_branch(storage, name, found)
    sizes = {one.name: one.own_bytes for one in site.pageserver(snap, storage).sizes()}
    return render.branch_out(storage, found[storage][name], sizes.get(name))


def log(site: Site, storage: str, name: str, limit: int) -> BranchLog:
    """What its own WAL says of the newest `limit` minutes with commits."""
    snap = site.snapshot()
    found = known(site, snap, storage, None)
    if name not in found[storage]:
        raise _no_branch(storage, name, found)
    return site.pageserver(snap, storage).branch_log(name, limit)


def put(
    site: Site, storage: str, name: str, from_: str | None, ttl: str | None = None, *, dry_run: bool = False
) -> tuple[BranchOut, bool] | Plan:
    """Make the branch (True), or find it as it should be (False)."""
    source = settled_source(from_) if from_ is not None else None
    expiring = marks.expiring(storage, name, ttl, now())
    return site.locks.run(
        f"put branch {storage}/{name} {from_} {ttl} {dry_run}",
        lambda: _put(site, storage, name, source, expiring, dry_run=dry_run),
        alone=frozenset({f"branch/{storage}/{name}"}),
        shared=frozenset({f"storage/{storage}"}),
    )


def _put(
    site: Site,
    storage: str,
    name: str,
    source: Source | None,
    expiring: MarkBranch | None,
    *,
    dry_run: bool,
) -> tuple[BranchOut, bool] | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot()
    start = start_of(snap, storage, name, source, known(site, snap, storage, source))
    steps = Plan()
    if start is not None:
        steps = Plan((do.PutBranch(storage, name, start.origin, fresh=not start.there),))
    if dry_run:
        return steps + marks.plan(expiring)
    with site.execution(snap) as execution:
        execution.run(steps)
    marks.make(site, expiring)
    return show(site, storage, name), start is not None and not start.there


def mark(site: Site, storage: str, name: str, action: BranchAction, *, dry_run: bool) -> BranchOut | Plan:
    """Protect or unprotect the branch, or have it expire, or never. Repeat is success."""
    wanted = marks.of_action(storage, name, action, now())

    def work() -> BranchOut | Plan:
        site.refuse_while_stopping()
        snap = site.snapshot()
        start_of(snap, storage, name, None, known(site, snap, storage, None))
        if dry_run:
            return marks.plan(wanted)
        marks.make(site, wanted)
        return show(site, storage, name)

    return site.locks.run(
        f"{action.action} branch {storage}/{name} {action.ttl} {dry_run}",
        work,
        alone=frozenset(),
        shared=frozenset({f"branch/{storage}/{name}", f"storage/{storage}"}),
    )


def delete(
    site: Site,
    storage: str,
    name: str,
    *,
    cascade: bool = False,
    forever: bool = False,
    dry_run: bool = False,
) -> Plan:
    """`Conflict` while a pg is bound to it, or it is needed or protected; with `cascade` what needs it goes
    first, unless any of that is protected. It can be taken back, unless it goes `forever`; then also what was
    deleted under the name goes, if there is no such branch."""

    def work() -> Plan:
        snap = site.snapshot()
        found = known(site, snap, storage, None)
        if name not in found[storage]:
            if not forever or not (steps := undeletes.plan_end(site, snap, storage, name)).steps:
                raise _no_branch(storage, name, found)
            if not dry_run:
                undeletes.end(site, snap, storage, name)
            return steps
        if cascade:
            steps = _drop_line(site, snap, storage, name, found, forever=forever)
        else:
            steps = plan.plan_drop_branch(snap, storage, name, forever=forever)
        marks.refuse_protected(steps, found[storage])
        if not dry_run:
            with site.execution(snap) as execution:
                execution.run(steps)
        return steps

    mine, whole = frozenset({f"branch/{storage}/{name}"}), frozenset({f"storage/{storage}"})
    return site.locks.run(
        f"delete branch {storage}/{name} {cascade} {forever} {dry_run}",
        work,
        alone=mine | whole if cascade else mine,  # so that nobody makes a branch or pg below it meanwhile
        shared=frozenset() if cascade else whole,
    )


def _drop_line(site: Site, snap: Snapshot, storage: str, name: str, known: Known, *, forever: bool) -> Plan:
    parents = {one.name: one.parent for one in known[storage].values()}
    snapshots = {one.name: one.branch or "" for one in site.pageserver(snap, storage).snapshots()}
    return plan.plan_drop_line(snap, storage, name, parents, snapshots, forever=forever)
