"""A storage's pageserver runs before a request needs it: one that died is started again by the next start.

Never replaces a pageserver that runs, whatever its image or settings: `up` does that.
"""

from __future__ import annotations

from neon_compose.controller import plan
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.site import Site


def served(site: Site, snap: Snapshot, storage: str) -> Snapshot:
    """A snapshot in which the pageserver of `storage` runs. The caller has that storage's lock.

    Where it does, as it should, this costs no call to the engine.
    """
    if _reachable(snap, storage):
        return snap
    with site.serve_mutex:  # several pgs of the storage may be started at once
        snap = site.snapshot()
        if not _reachable(snap, storage):
            with site.execution(snap) as execution:
                execution.run(plan.plan_pageserver(snap, snap.storage(storage)))
    return site.snapshot()


def _reachable(snap: Snapshot, storage: str) -> bool:
    return snap.address(snap.pageserver(storage)) is not None
