"""What was stopped for a request that failed runs again; the request's failure is what its client is told."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from neon_compose.controller import plan
from neon_compose.controller.desired import PgDoc
from neon_compose.controller.site import Site
from neon_compose.errors import NeonError

log = logging.getLogger(__name__)


def start_again(site: Site, pgs: Sequence[PgDoc]) -> None:
    """Start each as its document says now. The caller holds their names."""
    for pg in pgs:
        try:
            snap = site.snapshot()
            with site.execution(snap) as execution:
                execution.run(plan.plan_start(snap, snap.pg(pg.name)))
        except NeonError as error:
            log.warning("pg %s does not start again: %s (%s)", pg.name, error.message, error.detail)
