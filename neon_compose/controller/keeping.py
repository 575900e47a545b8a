"""The stack's safekeepers: all are made to run; what they say, asked beside each other, and in figures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv4Network

from neon_compose.controller import plan
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.progress import Progress
from neon_compose.controller.safekeepers import Safekeeper
from neon_compose.controller.site import Site
from neon_compose.errors import NeonError, Unavailable
from neon_compose.metrics import Family, gauge
from neon_compose.model.lsn import Lsn
from neon_compose.wire.safekeeper import BranchStatus, SafekeeperStatus

log = logging.getLogger(__name__)

Statuses = Mapping[int, SafekeeperStatus]


def bring_up(site: Site, progress: Progress, subnet: IPv4Network) -> None:
    """All run and are up to date, before anybody wants to commit; where one can't, the others do.

    Those that are down come first. Outdated ones are replaced in turns, and only while none failed to come
    up: commits go on as long as most of them run.
    """

    def attempt(number: int, *, all_up: bool = True) -> bool:
        return progress.attempt(
            f"safekeeper {number}", partial(_serve, site, number, subnet, may_replace=all_up)
        )

    snap = site.snapshot()
    running = [number for number in snap.safekeepers if _runs(snap, number)]
    all_up = all(list(site.crowd.map(attempt, [one for one in snap.safekeepers if one not in running])))
    for number in running:
        all_up = attempt(number, all_up=all_up) and all_up


def _runs(snap: Snapshot, number: int) -> bool:
    seen = snap.safekeeper(number)
    return seen is not None and seen.running


def _serve(site: Site, number: int, subnet: IPv4Network, *, may_replace: bool) -> None:
    site.refuse_while_stopping()
    snap = site.snapshot()
    steps = plan.plan_safekeeper(snap, number, subnet)
    if steps.steps and not may_replace and _runs(snap, number):
        raise Unavailable(
            "it stays as it is, since another safekeeper is down",
            detail="Replacing it now could leave too few of them for commits.",
            hint="neon-compose logs safekeeper shows why the other one doesn't answer; then up -d again.",
            code="safekeeper_kept",
        )
    # Not as a context: one that doesn't answer in time may yet do so, and is better left to try.
    site.execution(snap).run(steps)


def statuses(site: Site, snap: Snapshot) -> Statuses:
    """By number, of those that answer."""
    running = site.running_safekeepers(snap)
    asked = zip(running, site.workers.map(_status, running.values()), strict=True)
    return {number: status for number, status in asked if status is not None}


def _status(safekeeper: Safekeeper) -> SafekeeperStatus | None:
    try:
        return safekeeper.status()
    except NeonError as error:
        log.warning("a safekeeper says nothing: %s", error.message)
        return None


def families(snap: Snapshot, answers: Statuses, branches: Mapping[str, Mapping[str, str]]) -> list[Family]:
    """Of all safekeepers that the stack should have; one that doesn't answer is `up` 0. `branches` are the
    labels of those that pgs are on, by branch id."""

    def figures(name: str, help_: str, of: Mapping[int, float]) -> Family:
        return gauge(name, help_, *(({"safekeeper": str(number)}, value) for number, value in of.items()))

    receivers = Counter(
        (number, branch.receiver) for number, one in answers.items() for branch in one.branches
    )

    def positions(name: str, help_: str, lsn: Callable[[BranchStatus], str]) -> Family:
        found = [
            ({"safekeeper": str(number), **branches[one.branch_id]}, Lsn.parse(lsn(one)).value)
            for number, status in answers.items()
            for one in status.branches
            if one.branch_id in branches
        ]
        return gauge(name, help_, *found)

    return [
        positions(
            "safekeeper_flushed_bytes",
            "The LSN up to which it has WAL of the branch on its disk, as a number.",
            lambda one: one.flushed,
        ),
        positions(
            "safekeeper_committed_bytes",
            "The LSN up to which it knows WAL of the branch to be on enough disks, as a number.",
            lambda one: one.committed,
        ),
        figures(
            "safekeeper_up",
            "1 if the safekeeper answers.",
            {number: number in answers for number in snap.safekeepers},
        ),
        figures(
            "safekeeper_free_bytes",
            "Free bytes on the disk that its WAL is on.",
            {number: one.free_bytes for number, one in answers.items()},
        ),
        figures(
            "safekeeper_wal_bytes",
            "Bytes that WAL of all branches takes on its disk.",
            {number: sum(branch.wal_bytes for branch in one.branches) for number, one in answers.items()},
        ),
        gauge(
            "safekeeper_receivers",
            "Branches by the condition of their receiver.",
            *(
                ({"safekeeper": str(number), "condition": condition}, count)
                for (number, condition), count in sorted(receivers.items())
            ),
        ),
    ]
