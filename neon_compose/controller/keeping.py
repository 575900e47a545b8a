"""What the stack's safekeepers say, asked beside each other; and in figures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

from neon_compose.controller.observe import Snapshot
from neon_compose.controller.safekeepers import Safekeeper
from neon_compose.controller.site import Site
from neon_compose.errors import NeonError
from neon_compose.metrics import Family, gauge
from neon_compose.wire.safekeeper import SafekeeperStatus

log = logging.getLogger(__name__)

Statuses = Mapping[int, SafekeeperStatus]


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


def families(snap: Snapshot, answers: Statuses) -> list[Family]:
    """Of all safekeepers that the stack should have; one that doesn't answer is `up` 0."""

    def figures(name: str, help_: str, of: Mapping[int, float]) -> Family:
        return gauge(name, help_, *(({"safekeeper": str(number)}, value) for number, value in of.items()))

    receivers = Counter(
        (number, branch.receiver) for number, one in answers.items() for branch in one.branches
    )
    return [
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
