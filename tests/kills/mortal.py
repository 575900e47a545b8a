"""kill -9 of a controller over fakes: from one moment on, nothing that it does has any effect.

`Killed` is no `Exception`, so nothing in the program takes it for an error. Undos and `finally` still run,
as they would not in a killed process; but all that a controller can change is behind a `Mortal`, and that
lets nobody through any more: neither them, nor the dead controller's other threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any


class Killed(BaseException):
    pass


class Life:
    """A controller's: ends at the `nth` coming of the moment `at`."""

    def __init__(self, at: str | None = None, nth: int = 1) -> None:
        self.moments: list[str] = []
        self.over = False
        self._at, self._nth = at, nth
        self._mutex = threading.Lock()

    def moment(self, name: str) -> None:
        """A `Fault`."""
        self.check()
        with self._mutex:
            self.moments.append(name)
            if name == self._at and self.moments.count(name) == self._nth:
                self.over = True
        self.check()

    def check(self) -> None:
        if self.over:
            raise Killed(self._at)


class Mortal:
    """`target` in the hands of a controller that can be killed."""

    def __init__(self, target: object, life: Life) -> None:
        self._target, self._life = target, life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return self._guarded(found) if callable(found) else found

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            self._life.check()
            result = function(*args, **more)
            return self._watched(result) if isinstance(result, Iterator) else result

        return call

    def _watched(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self._life.check()
            yield item
