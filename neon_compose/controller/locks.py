"""One lock per resource name.

A request that needs a resource which another one works on gets `Conflict` (code "busy") at once; the
very same request joins the running one and gets its answer. A resource may be shared by many
("storage/main" while its pgs start) or held by one.

What the controller does unasked, when it brings things back after its start, is told from requests: they
wait for each other's end, since no client can know of it, and nobody is there who could try again. Who
waits holds no pg and no storage yet, and who holds one waits for no other, so nothing deadlocks. (Bringing
up the whole stack holds "stack" all the while, which nobody waits for.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from neon_compose.errors import Conflict
from neon_compose.wait import Deadline

T = TypeVar("T")

_PATIENCE_S = 90.0  # a clean stop of a compute takes up to 60 s


@dataclass
class _Running:
    what: str
    alone: frozenset[str]
    shared: frozenset[str]
    unasked: bool = False
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
        return self._run(_Running(what, alone, shared), work)

    def run_unasked(
        self, what: str, work: Callable[[], T], *, alone: frozenset[str], shared: frozenset[str] = frozenset()
    ) -> T:
        """As `run`, for work of the controller's own: requests wait for its end, and it for theirs."""
        return self._run(_Running(what, alone, shared, unasked=True), work)

    def _run(self, mine: _Running, work: Callable[[], T]) -> T:
        deadline = Deadline.after(_PATIENCE_S)
        while (other := self._begin(mine, deadline)) is not None:
            if other.what == mine.what:
                answer: T = other.future.result()
                return answer
            wait((other.future,), deadline.left_s)
        return self._work(mine, work)

    def _begin(self, mine: _Running, patience: Deadline) -> _Running | None:
        """Have `mine` run, or give the one to join or to wait for. Raises `Conflict` for all others."""
        with self._mutex:
            for other in self._running:
                if other.what == mine.what:
                    other.joiners += 1
                    return other
                if (name := other.clash(mine.alone, mine.shared)) is not None:
                    if (other.unasked or mine.unasked) and not patience.passed:
                        return other
                    raise _busy(name, other.verb)
            self._running.append(mine)
        return None

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
