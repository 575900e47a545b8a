"""A safekeeper that ended is started again at once: until then no commit of the stack ends.

The engine's restart policy does it for a process that failed, also while there is no controller; what
somebody killed by name, or removed, the engine takes for wanted. Owns the thread that looks, when the engine
tells of an end, and the pauses between starts of one that doesn't stay. One that is paused is somebody's
doing.
"""

from __future__ import annotations

import logging
import threading

from neon_compose import wait
from neon_compose.controller import plan
from neon_compose.controller.network import ensure_network
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.site import Site
from neon_compose.engine.runtime import ContainerState
from neon_compose.engine.watching import Change, ContainerEvent
from neon_compose.errors import NeonError
from neon_compose.model.states import Component

log = logging.getLogger(__name__)

_STEADY_S = 30.0  # after a start that held that long the next is at once again
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_THERE = (ContainerState.RUNNING, ContainerState.RESTARTING, ContainerState.PAUSED)


class Reviver:
    def __init__(self, site: Site) -> None:
        self._site = site
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reviver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Does not wait for the thread: an engine that hangs must not keep us from ending."""
        self._ending.set()
        self._wake.set()

    def tell(self, event: ContainerEvent) -> None:
        """What the engine tells; doesn't block."""
        if event.component is Component.SAFEKEEPER and event.change in (Change.ENDED, Change.REMOVED):
            self._wake.set()

    def _run(self) -> None:
        pause_s, begun_s = 0.0, wait.monotonic_s()
        while self._wake.wait() and not self._ending.is_set():
            self._wake.clear()
            steady = wait.monotonic_s() - begun_s > _STEADY_S
            pause_s = 0.0 if steady else min(max(pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
            if self._ending.wait(pause_s):
                return
            begun_s = wait.monotonic_s()
            try:
                revive(self._site)
            except NeonError as error:
                log.warning("safekeepers could not be started: %s (%s)", error.message, error.detail)
                self._wake.set()


def revive(site: Site) -> None:
    """Start the safekeepers that ended, unless the stack is coming up or going down."""
    if site.phase is not None or not site.ready.is_set() or not _ended(site.snapshot()):
        return
    # Under a lock, so that an `up` that begins meanwhile doesn't do the same.
    site.locks.run_unasked("revive safekeepers", lambda: _revive(site), alone=frozenset({"safekeepers"}))


def _revive(site: Site) -> None:
    subnet = ensure_network(site.engine, site.stack, site.image("base"), site.me)
    snap = site.snapshot()
    for number in _ended(snap):
        log.info("safekeeper %s ended, and is started again", number)
        site.execution(snap).run(plan.plan_safekeeper(snap, number, subnet))


def _ended(snap: Snapshot) -> list[int]:
    seen = {number: snap.safekeeper(number) for number in snap.safekeepers}
    return [number for number, one in seen.items() if one is None or one.state not in _THERE]
