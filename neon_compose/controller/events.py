"""What goes on in the stack, kept for a while: the last events, for any number of readers.

Readers have a place in the log, not a queue of their own: the log is as long as it is, however many read
and however slowly, and telling never waits for any of them. Kept in memory only; ids go on growing over
controllers, since they are times.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from neon_compose.engine.watching import Change, ContainerEvent
from neon_compose.errors import Unavailable
from neon_compose.model.states import Component
from neon_compose.wait import now
from neon_compose.wire.events import EventKind, EventOut

KEPT = 2000
FOLLOWERS = 100
_BATCH = 100
_NOTE = 500  # letters of a note that are kept
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_KINDS = {
    Change.CREATED: EventKind.CONTAINER_CREATED,
    Change.STARTED: EventKind.CONTAINER_STARTED,
    Change.ENDED: EventKind.CONTAINER_ENDED,
    Change.REMOVED: EventKind.CONTAINER_REMOVED,
    Change.PAUSED: EventKind.CONTAINER_PAUSED,
    Change.RESUMED: EventKind.CONTAINER_RESUMED,
    Change.OUT_OF_MEMORY: EventKind.CONTAINER_OUT_OF_MEMORY,
}


class EventLog:
    """`counts` are all events told so far, by kind."""

    def __init__(self, kept: int = KEPT) -> None:
        self.counts: Counter[EventKind] = Counter()
        self._kept: deque[EventOut] = deque(maxlen=kept)
        self._last = 0
        self._forgotten = 0  # the id of the newest one that is not kept any more
        self._wakes: set[Callable[[], None]] = set()
        self._closed = False
        self._mutex = threading.Lock()

    # ---- telling

    def tell(self, kind: EventKind, name: str, note: str | None = None) -> None:
        """Something the controller did just now. Never blocks on a reader."""
        self._add(now(), kind, name, note=note[:_NOTE] if note else None)

    def tell_container(self, event: ContainerEvent) -> None:
        """Something the engine said."""
        self._add(event.at, _KINDS[event.change], event.name, event.component, event.exit_code)

    def close(self) -> None:
        """All readers come to their end; what is told from now on nobody hears."""
        with self._mutex:
            self._closed = True
            wakes = list(self._wakes)
        for wake in wakes:
            wake()

    def _add(
        self,
        at: datetime,
        kind: EventKind,
        name: str,
        component: Component | None = None,
        exit_code: int | None = None,
        note: str | None = None,
    ) -> None:
        with self._mutex:
            self._last = max(self._last + 1, id_at(at))
            if len(self._kept) == self._kept.maxlen:
                self._forgotten = self._kept[0].id
            self._kept.append(
                EventOut(
                    id=self._last, at=at, kind=kind, name=name,
                    component=component, exit_code=exit_code, note=note,
                )
            )  # fmt: skip
            self.counts[kind] += 1
            wakes = list(self._wakes)
        for wake in wakes:
            wake()

    # ---- reading

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def last(self) -> int:
        """The id of the newest event; to read from there on is to read what comes."""
        return self._last

    @property
    def followers(self) -> int:
        return len(self._wakes)

    def after(self, place: int) -> list[EventOut]:
        """The next events with a greater id, some at a time; none for now is an empty list.

        If some have been forgotten, the first one says so (`missed`).
        """
        with self._mutex:
            found = [one for one in self._kept if one.id > place][:_BATCH]
            if 0 < place < self._forgotten:
                lost = EventOut(
                    id=self._forgotten,
                    at=_EPOCH + timedelta(microseconds=self._forgotten),
                    kind=EventKind.MISSED,
                    name="events",
                    note=f"what was told up to here is not kept any more: only the last {KEPT} are",
                )
                return [lost, *found]
            return found

    @contextmanager
    def woken(self, wake: Callable[[], None]) -> Iterator[None]:
        """`wake` is called after each event, from whatever thread: it must only pass that on.

        `Unavailable` (code "too_many_readers") when too many follow already.
        """
        with self._mutex:
            if len(self._wakes) >= FOLLOWERS:
                raise Unavailable(
                    f"{FOLLOWERS} clients follow the events already",
                    hint="End one of them, or ask without follow.",
                    code="too_many_readers",
                )
            self._wakes.add(wake)
        try:
            yield
        finally:
            with self._mutex:
                self._wakes.discard(wake)


def id_at(at: datetime) -> int:
    """The id of an event at `at`, if it was the only one."""
    return (at - _EPOCH) // timedelta(microseconds=1)
