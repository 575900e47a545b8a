"""A storage's pageserver runs before a request needs it: one that died is started again by the next start.

Never replaces a pageserver that runs, whatever its image or settings: `up` does that. One that runs and
doesn't answer is left alone too: it may be at work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from neon_compose.controller import plan
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.site import Site
from neon_compose.errors import TimedOut, Unavailable
from neon_compose.wait import Deadline, until

T = TypeVar("T")

_NO_ANSWER = ("pageserver_down", "pageserver_cut_off")
_NOTICED_S = 3.0  # by then the engine knows that a container's program has ended


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


def outliving(site: Site, storage: str, work: Callable[[], T]) -> T:
    """Do `work`, which observes, plans and executes; once more if the pageserver of `storage` has died.

    In the instant after its death the engine still says that it runs, and a plan made of that fails where
    it first asks the pageserver. What that had done is taken back by then, and a plan of what the engine
    says now begins with the pageserver. Only once: one that dies again has a reason that people must see.
    """
    try:
        return work()
    except Unavailable as error:
        if error.code not in _NO_ANSWER or not _noticed(site, storage):
            raise
    return work()


def _noticed(site: Site, storage: str) -> bool:
    """Whether the engine comes to say that it ended, or it answers: somebody else has started it by then."""

    def ended_or_back() -> bool:
        snap = site.snapshot()
        address = snap.address(snap.pageserver(storage))
        return address is None or site.pageservers.at(address).healthy()

    with suppress(TimedOut):
        until(f'the end of the pageserver of storage "{storage}"', ended_or_back, Deadline.after(_NOTICED_S))
        return True
    return False
