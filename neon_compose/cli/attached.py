"""Logs of a stack's containers, each line under its container's name; and `up` without -d."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from neon_compose.cli.session import Session, give, say
from neon_compose.engine.runtime import Container, Engine, Kind
from neon_compose.engine.watching import Line, stamp_of
from neon_compose.errors import NeonError, NotFound
from neon_compose.model.moments import parse_since
from neon_compose.model.names import Name
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.states import Component
from neon_compose.wait import Deadline, now

TAIL = 100

_LOOK_S = 1.0
_DISORDER = timedelta(seconds=30)  # much longer than a line waits for its turn to be written
_AHEAD = 1000  # lines read but not printed yet: a slow terminal must not make us large


@dataclass(frozen=True)
class Wanted:
    """Which lines: of the containers `only` names (all, if it names none), the last `tail` since `since`."""

    only: tuple[str, ...] = ()
    tail: int | None = None
    since: str = ""

    def matches(self, container: Container) -> bool:
        """By full name, without the stack (`controller`, `pg_main`), or all of a component (`compute`)."""
        known = (container.name, _short(container), container.component)
        return not self.only or any(one in known for one in self.only)


def attach(session: Session, stack: Name) -> None:
    """Follow the logs until Ctrl-C, which stops the stack (data stays, as with `down`)."""
    from neon_compose.cli.down import stop

    say("attached: Ctrl-C stops the stack; up -d leaves it running")
    try:
        for line in follow(session.engine, stack, Wanted(tail=0)):
            say(line)
    except KeyboardInterrupt:
        say(f'stopping stack "{stack}"')
        stop(session, stack)


def logs(
    session: Session, only: Sequence[str], tail: int | None, since: str | None, *, following: bool
) -> None:
    """Print the last lines of every container of the stack, or of `only` some."""
    stamp = stamp_of(parse_since(since, now())) if since is not None else ""
    wanted = Wanted(tuple(only), tail if tail is not None or stamp else TAIL, stamp)
    engine, stack = session.engine, session.stack
    chosen = _chosen(engine, stack, wanted)
    if following:
        for text in follow(engine, stack, wanted):
            give(text)
        return
    for container in chosen:
        for line in engine.lines(container.id, wanted.tail, wanted.since):
            give(_labelled(container, line.text))


def follow(engine: Engine, stack: Name, wanted: Wanted) -> Iterator[str]:
    """Lines of all wanted containers as they come, also of ones made or started again meanwhile.

    Ends when none of them runs and nobody is there to start one: the controller has ended too.
    """
    lines: queue.Queue[str] = queue.Queue(_AHEAD)
    reads: dict[str, _Reading] = {}
    first = True
    while True:
        found = _containers(engine, stack)
        chosen = [one for one in found if wanted.matches(one)]
        for container in chosen:
            if container.id not in reads:
                # One that came meanwhile is new: all it says is.
                reads[container.id] = _Reading(engine, container, wanted if first else Wanted(), lines)
            elif container.running:
                reads[container.id].go_on()
        first = False
        reading = any(one.busy for one in reads.values())
        runs = any(one.running for one in found if one in chosen or one.component is Component.CONTROLLER)
        if not (reading or runs) and lines.empty():
            return
        yield from _drain(lines)


def _drain(lines: queue.Queue[str]) -> Iterator[str]:
    """What comes within a look's time, however much that is."""
    deadline = Deadline.after(_LOOK_S)
    while not deadline.passed:
        try:
            yield lines.get(timeout=max(deadline.left_s, 0.001))
        except queue.Empty:
            return


class _Reading:
    """One container's lines, put into the queue by a thread that ends with the container.

    What has been said is read first, and followed from its last line on: so nothing is told twice, and
    nothing lost, when a container was started again before we looked.

    Lines have a place in the log, not in time: the engine stamps a line of stdout or stderr, and then waits
    for its turn to write it, so a line may come after one with a later stamp. To go on by stamps alone
    would tell such ones twice or not at all. So we look where in the log the last line is that we told, and
    go on behind it.
    """

    def __init__(self, engine: Engine, container: Container, wanted: Wanted, lines: queue.Queue[str]) -> None:
        self._engine, self._container, self._lines = engine, container, lines
        self._last: Line | None = None  # the last one in the log that was told, or left out as wanted
        self._thread = self._begin(wanted)

    @property
    def busy(self) -> bool:
        return self._thread.is_alive()

    def go_on(self) -> None:
        """The container runs: if the thread has ended, it ran before and was started again."""
        if not self.busy:
            self._thread = self._begin(None)

    def _begin(self, wanted: Wanted | None) -> threading.Thread:
        thread = threading.Thread(
            target=self._read, args=(wanted,), name=f"logs {self._container.name}", daemon=True
        )
        thread.start()
        return thread

    def _read(self, wanted: Wanted | None) -> None:
        try:
            if wanted is not None:
                self._catch_up(wanted)
            since = _well_before(self._last)
            known = self._known(since)
            for line in self._engine.lines(self._container.id, since=since, follow=True):
                if line not in known:
                    self._tell(line.text)
                    self._last = line
        except NotFound:
            return  # it was removed
        except NeonError as error:
            self._tell(f"({error.message})")

    def _catch_up(self, wanted: Wanted) -> None:
        least = wanted.tail if wanted.tail is None else max(wanted.tail, 1)  # one, to know where we are
        said = list(self._engine.lines(self._container.id, least))
        shown = said if wanted.tail is None else said[len(said) - min(wanted.tail, len(said)) :]
        for line in shown:
            if line.stamp >= wanted.since:
                self._tell(line.text)
        self._last = said[-1] if said else None

    def _known(self, since: str) -> frozenset[Line]:
        """What of the log since then stands up to the last line; nothing if that was rotated away, and all
        there is came after it."""
        said = [] if self._last is None else list(self._engine.lines(self._container.id, since=since))
        while said and said[-1] != self._last:
            said.pop()
        return frozenset(said)

    def _tell(self, text: str) -> None:
        self._lines.put(_labelled(self._container, text))


def _well_before(line: Line | None) -> str:
    """A stamp that all lines have passed which stand behind `line` in the log."""
    return "" if line is None else stamp_of(datetime.fromisoformat(line.stamp) - _DISORDER)


def _containers(engine: Engine, stack: Name) -> list[Container]:
    """The stack's containers that say something, by name; pods only sleep."""
    found = engine.observe(stack, (Kind.CONTAINER,)).containers
    return sorted(
        (one for one in found if one.component not in (None, Component.POD)), key=lambda one: one.name
    )


def _chosen(engine: Engine, stack: Name, wanted: Wanted) -> list[Container]:
    """Raises `NotFound` for the first name that no container has."""
    found = _containers(engine, stack)
    for name in wanted.only:
        if not any(Wanted((name,)).matches(one) for one in found):
            names = [_short(one) for one in found]
            raise NotFound(
                f'stack "{stack}" has no container "{name}"',
                hint=did_you_mean(name, names),
                code="no_container",
            )
    return [one for one in found if wanted.matches(one)]


def _short(container: Container) -> str:
    return container.name.removeprefix(f"{container.stack}_")


def _labelled(container: Container, line: str) -> str:
    return f"{_short(container)} | {line}"
