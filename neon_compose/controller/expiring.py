"""A branch whose time is over goes, with its pgs: stopped, destroyed, deleted.

Owns the thread that looks (also for what purged storages left on safekeepers: purging), and what is known of
branches that should be gone and aren't (`Site.overdue`).
Never touches a protected branch, nor `main`, nor one that children or snapshots need: it goes once they are
gone. When a branch's time is over says its manifest, so a new controller goes on where the last one was; a
clock that goes backwards makes it later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from neon_compose.controller import pgs, plan, purging
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.controller.sources import MAIN
from neon_compose.errors import Conflict, NeonError
from neon_compose.wait import now
from neon_compose.wire.pageserver import Branch

log = logging.getLogger(__name__)

_PERIOD_S = 15.0  # how late a branch may go


class Sweeper:
    def __init__(self, site: Site, period_s: float = _PERIOD_S) -> None:
        self._site, self._period_s = site, period_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Does not wait for the thread: one that stops a busy pg must not keep us from ending."""
        self._ending.set()

    def _run(self) -> None:
        while not self._ending.wait(self._period_s):
            try:
                sweep(self._site)
                purging.forget_all(self._site)
            except NeonError as error:
                log.warning("expired branches could not be looked for: %s (%s)", error.message, error.detail)


def sweep(site: Site) -> None:
    """Once over all storages that answer, unless the stack is coming up or going down."""
    if site.phase is not None or not site.ready.is_set():
        return
    overdue: dict[str, str] = {}
    for storage, server in site.answering(site.snapshot()).items():
        try:
            overdue |= _sweep(site, storage, server)
        except NeonError as error:
            log.warning("storage %s does not say what expired: %s", storage, error.message)
    site.overdue = overdue


def _sweep(site: Site, storage: str, server: Pageserver) -> dict[str, str]:
    """What stays, "storage/branch" -> why; a line in the log when that is news."""
    staying: dict[str, str] = {}
    for branch in _expired(server.branches(), now()):
        about = f"{storage}/{branch.name}"
        try:
            _end(site, storage, branch.name)
        except NeonError as error:
            staying[about] = f"{error.message}. {error.detail}".rstrip(". ") + "."
            if site.overdue.get(about) != staying[about]:
                log.warning("branch %s should be gone and is not: %s", about, staying[about])
    return staying


def _expired(branches: Sequence[Branch], at: datetime) -> list[Branch]:
    """Those whose time is over, children before their parents."""
    parents = {one.name: one.parent for one in branches}
    over = [one for one in branches if _is_over(one, at)]
    return sorted(over, key=lambda one: (-len(list(_ancestors(one.name, parents))), one.name))


def _is_over(branch: Branch, at: datetime) -> bool:
    return (
        branch.expires is not None and branch.expires <= at and not branch.protected and branch.name != MAIN
    )


def _ancestors(name: str, parents: dict[str, str | None]) -> Iterator[str]:
    seen = {name}
    while (parent := parents.get(name)) is not None and parent not in seen:
        seen.add(parent)
        yield parent
        name = parent


def _end(site: Site, storage: str, name: str) -> None:
    """Under a lock on the branch and its pgs: no request for them comes in between, those that come wait.

    A child that is made of it in the meantime keeps the branch, not its pgs.
    """
    bound = frozenset(_bound(site.snapshot(()), storage, name))
    site.locks.run_unasked(
        f"expire branch {storage}/{name}",
        lambda: _ended(site, storage, name, bound),
        alone=frozenset({f"branch/{storage}/{name}", *(f"pg/{pg}" for pg in bound)}),
        shared=frozenset({f"storage/{storage}"}),
    )


def _bound(snap: Snapshot, storage: str, name: str) -> list[str]:
    return sorted(pg.name for pg in snap.desired.pgs_of(storage) if pg.branch == name)


def _ended(site: Site, storage: str, name: str, held: frozenset[str]) -> None:
    snap = site.snapshot()
    server = site.pageserver(snap, storage)
    branches = server.branches()
    if site.phase is not None or not any(one.name == name and _is_over(one, now()) for one in branches):
        return  # it was told to stay, or is gone, while we waited
    _refuse_needed(name, branches, [one.name for one in server.snapshots() if one.branch == name])
    bound = _bound(snap, storage, name)
    if not held.issuperset(bound):  # it came after we looked whom to keep still
        raise Conflict(f'branch "{name}" is busy', code="busy")
    log.info("the time of branch %s/%s is over: it goes, with pgs %s", storage, name, bound or "none")
    for pg in bound:
        _destroy(site, pg)
    snap = site.snapshot()
    with site.execution(snap) as execution:
        execution.run(plan.plan_drop_branch(snap, storage, name))
    if bound:
        site.workers.submit(pgs.keep_pods, site)


def _destroy(site: Site, pg: str) -> None:
    """Cut off after its document says that it ends, the next controller finishes it."""
    snap = site.snapshot()
    with site.execution(snap) as execution:
        execution.run(plan.plan_stop(snap, snap.pg(pg)))
    snap = site.snapshot()
    with site.execution(snap) as execution:
        execution.run(plan.plan_destroy(snap, snap.pg(pg), discard_writes=True))


def _refuse_needed(name: str, branches: Iterable[Branch], snapshots: Sequence[str]) -> None:
    """As a delete does, but before its pgs go."""
    children = [one.name for one in branches if one.parent == name]
    if needing := [*(f'branch "{one}"' for one in children), *(f'snapshot "{one}"' for one in snapshots)]:
        raise Conflict(f'branch "{name}" is needed', detail=f"By {', '.join(needing)}.", code="branch_needed")
