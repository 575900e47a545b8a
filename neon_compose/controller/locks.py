"""One lock per resource name.

A request that needs a resource which another one works on gets `Conflict` (code "busy") at once; the
very same request joins the running one and gets its answer. Nothing queues, so nothing deadlocks.
A resource may be shared by many ("storage/main" while its pgs start) or held by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from neon_compose.errors import Conflict

T = TypeVar("T")


@dataclass
class _Running:
    what: str
    alone: frozenset[str]
    shared: frozenset[str]
    future: Future[Any] = field(default_factory=Future)
    joiners: int = 0

    @property
    def verb(self) -> str:
        return self.what.partition(" ")[0]

    def clash(self, alone: frozenset[str], shared: frozenset[str]) -> str | None:
        both = (self.alone & (alone | shared)) | (self.shared & alone)
        return min(both, default=None)


class Locks:
    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._running: list[_Running] = []

    def run(
        self, what: str, work: Callable[[], T], *, alone: frozenset[str], shared: frozenset[str] = frozenset()
    ) -> T:
        """Do `work` while no other holds `alone`, and none alone what is in `shared`.

        `what` is the whole request as text, a verb first: equal text joins. The joined one's error is
        raised too.
        """
        with self._mutex:
            for other in self._running:
                if other.what == what:
                    mine, joined = None, other
                    other.joiners += 1
                    break
                if (name := other.clash(alone, shared)) is not None:
                    raise _busy(name, other.verb)
            else:
                mine = joined = _Running(what, alone, shared)
                self._running.append(mine)
        if mine is None:
            answer: T = joined.future.result()
            return answer
        return self._work(mine, work)

    def _work(self, mine: _Running, work: Callable[[], T]) -> T:
        try:
            result = work()
        except BaseException as error:
            self._end(mine)
            mine.future.set_exception(error)
            raise
        self._end(mine)
        mine.future.set_result(result)
        return result

    def _end(self, mine: _Running) -> None:
        with self._mutex:
            self._running.remove(mine)

    def work_on(self, name: str) -> str | None:
        """What is done to `name` by the running request that holds it alone: "start" of a pg, say."""
        with self._mutex:
            return next((other.verb for other in self._running if name in other.alone), None)

    def joined(self, name: str) -> int:
        """How many requests wait for the answer of the one that holds `name` alone."""
        with self._mutex:
            return sum(other.joiners for other in self._running if name in other.alone)

    def names(self) -> frozenset[str]:
        """All that running requests hold, alone or with others."""
        with self._mutex:
            return frozenset().union(*(one.alone | one.shared for one in self._running))

    def idle(self, besides: str) -> bool:
        """Whether nothing runs but what holds `besides`."""
        with self._mutex:
            return all(besides in other.alone for other in self._running)


def _busy(name: str, verb: str) -> Conflict:
    kind, _, rest = name.partition("/")
    return Conflict(
        f'{kind} "{rest}" is busy' if rest else f"the {kind} is busy",
        detail=f'Another request is working on it: "{verb}".',
        hint="Try again in a moment.",
        code="busy",
    )
