"""Puts what the engine says of the stack's containers into the log of events, in a thread of its own, and
tells who else has to know.

When the engine goes away it asks again until it is back, from the last event it was told of.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from neon_compose.controller.events import EventLog
from neon_compose.engine.watching import ContainerEvent, Watcher, Watching
from neon_compose.errors import NeonError
from neon_compose.wait import now_ns

log = logging.getLogger(__name__)

_BEFORE_NS = 3600 * 1_000_000_000  # told before we came, as far as the engine remembers
_PAUSE_S = 1.0


class Recorder:
    def __init__(
        self,
        watcher: Watcher,
        stack: str,
        events: EventLog,
        also: Callable[[ContainerEvent], None] = lambda _: None,
    ) -> None:
        self._watcher, self._stack, self._events, self._also = watcher, stack, events, also
        self._since_ns = now_ns() - _BEFORE_NS
        self._watching: Watching | None = None
        self._ending = threading.Event()
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Does not wait for the thread: an engine that hangs must not keep us from ending."""
        with self._mutex:
            self._ending.set()
            if self._watching is not None:
                self._watching.close()

    def _run(self) -> None:
        told = True  # an engine that stays away is a line in the log once
        while not self._ending.is_set():
            try:
                watching = self._watcher.watch(self._stack, self._since_ns)
                told = True
                if self._adopt(watching):
                    self._record(watching)
            except NeonError as error:
                if told:
                    log.warning("the engine's events are not told: %s (%s)", error.message, error.detail)
                told = False
            self._ending.wait(_PAUSE_S)

    def _adopt(self, watching: Watching) -> bool:
        """False if we are to end, which may have come while the engine was asked."""
        with self._mutex:
            self._watching = watching
            if self._ending.is_set():
                watching.close()
            return not self._ending.is_set()

    def _record(self, watching: Watching) -> None:
        for event in watching:
            if event.at_ns >= self._since_ns:
                self._since_ns = event.at_ns + 1
                if event.component is not None:  # probes come and go, and are nobody's news
                    self._events.tell_container(event)
                    self._also(event)
