"""Failures on purpose.

`Faults` makes the n-th change fail, before or after it has happened: a server that died before or after
the work looks the same to its client.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neon_compose.errors import Unavailable


class Faults:
    """Fails the change number `at` (from 1), before it happens or after."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.after = False
        self.seen: list[str] = []
        self.before: Callable[[str], object] = lambda _: None  # called with each change, before it
        self._mutex = threading.Lock()

    def arm(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.seen = at, after, []

    def disarm(self) -> None:
        self.at = None

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        with self._mutex:
            self.seen.append(what)
            mine = len(self.seen) == self.at
        self.before(what)
        if mine and not self.after:
            raise Unavailable(f"injected before: {what}", code="injected")
        yield
        if mine and self.after:
            raise Unavailable(f"injected after: {what}", code="injected")


# ---- the engine
