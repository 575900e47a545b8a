"""`Watching` of a `FakeEngine`: container events without an engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from neon_compose.engine import labels as label
from neon_compose.engine.watching import ContainerEvent


class FakeWatching:
    """`told` as it grows; `news` is notified of that. Begins at the event number `first`."""

    def __init__(self, news: threading.Condition, told: list[ContainerEvent], stack: str, first: int) -> None:
        self._news, self._told, self._stack, self._next = news, told, stack, first
        self._closed = False

    def __iter__(self) -> Iterator[ContainerEvent]:
        while (event := self._wait()) is not None:
            if event.labels.get(label.STACK) == self._stack:
                yield event

    def _wait(self) -> ContainerEvent | None:
        with self._news:
            self._news.wait_for(lambda: self._closed or self._next < len(self._told))
            if self._closed:
                return None
            self._next += 1
            return self._told[self._next - 1]

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify_all()
