"""Logs of a stack's containers, each line under its container's name; and `up` without -d."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from neon_compose.cli.session import Session, give, say
from neon_compose.engine.runtime import Container, Engine, Kind
from neon_compose.errors import NeonError, NotFound
from neon_compose.model.names import Name
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.states import Component

_LOOK_S = 2.0


def attach(session: Session, stack: Name) -> None:
    """Follow the logs until Ctrl-C, which stops the stack (data stays, as with `down`)."""
    from neon_compose.cli.down import stop

    say("attached: Ctrl-C stops the stack; up -d leaves it running")
    try:
        for line in follow(session.engine, stack, None, tail=0):
            say(line)
    except KeyboardInterrupt:
        say(f'stopping stack "{stack}"')
        stop(session, stack)


def logs(session: Session, only: str | None, tail: int, following: bool) -> None:
    """Print the last lines of every container of the stack, or of `only` one."""
    chosen = _chosen(session.engine, session.stack, only)
    if following:
        for line in follow(session.engine, session.stack, only, tail):
            give(line)
        return
    for container in chosen:
        for line in session.engine.logs(container.name, tail):
            give(_labelled(container, line))


def follow(engine: Engine, stack: Name, only: str | None, tail: int) -> Iterator[str]:
    """Lines of all containers as they come, also of ones made meanwhile; ends when none is left running."""
    lines: queue.Queue[str] = queue.Queue()
    threads: dict[str, threading.Thread] = {}
    while True:
        running = [one for one in _containers(engine, stack) if one.running and _matches(one, only)]
        for container in running:
            thread = threads.get(container.id)
            if thread is None or not thread.is_alive():
                tail_now = tail if thread is None else 0
                threads[container.id] = _start(engine, container, tail_now, lines)
        if not running and not any(thread.is_alive() for thread in threads.values()) and lines.empty():
            return
        yield from _drain(lines)


def _drain(lines: queue.Queue[str]) -> Iterator[str]:
    """What comes within a look's time."""
    try:
        while True:
            yield lines.get(timeout=_LOOK_S)
    except queue.Empty:
        return


def _start(engine: Engine, container: Container, tail: int, lines: queue.Queue[str]) -> threading.Thread:
    def read() -> None:
        try:
            for line in engine.follow(container.name, tail):
                lines.put(_labelled(container, line))
        except NeonError as error:
            lines.put(_labelled(container, f"({error.message})"))

    thread = threading.Thread(target=read, name=f"logs {container.name}", daemon=True)
    thread.start()
    return thread


def _containers(engine: Engine, stack: Name) -> list[Container]:
    """The stack's containers that say something, by name; pods only sleep."""
    found = engine.observe(stack, (Kind.CONTAINER,)).containers
    return sorted(
        (one for one in found if one.component not in (None, Component.POD)), key=lambda one: one.name
    )


def _chosen(engine: Engine, stack: Name, only: str | None) -> list[Container]:
    found = _containers(engine, stack)
    chosen = [one for one in found if _matches(one, only)]
    if only is not None and not chosen:
        names = [_short(one) for one in found]
        raise NotFound(
            f'stack "{stack}" has no container "{only}"', hint=did_you_mean(only, names), code="no_container"
        )
    return chosen


def _matches(container: Container, only: str | None) -> bool:
    """By full name, or without the stack: `controller`, `pg_main`."""
    return only is None or only in (container.name, _short(container))


def _short(container: Container) -> str:
    return container.name.removeprefix(f"{container.stack}_")


def _labelled(container: Container, line: str) -> str:
    return f"{_short(container)} | {line}"
