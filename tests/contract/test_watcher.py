"""What the controller relies on of an engine that tells what goes on, on the fake one and on Docker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from neon_compose.engine.labels import component_labels
from neon_compose.engine.runtime import ContainerSpec, Engine, Kind
from neon_compose.engine.watching import Change, ContainerEvent, Watching
from neon_compose.model.states import Component
from neon_compose.wait import Deadline, until
from tests.contract.test_runtime import engine, image, pause, spec, stack

__all__ = ["engine", "image", "spec", "stack"]

Seen = list[ContainerEvent]
Follow = Callable[..., Seen]


@pytest.fixture
def follow(engine: Engine) -> Iterator[Follow]:
    """Collects what `watch` tells, in a thread of its own; all of them must end when they are closed."""
    begun: list[tuple[Watching, threading.Thread]] = []

    def follow(stack: str, since_ns: int | None = None) -> Seen:
        seen: Seen = []
        watching = engine.watch(stack, since_ns)
        thread = threading.Thread(target=_collect, args=(watching, seen), daemon=True)
        thread.start()
        begun.append((watching, thread))
        return seen

    yield follow
    for watching, thread in begun:
        watching.close()
        thread.join(30)
        assert not thread.is_alive()
        watching.close()


def _collect(watching: Watching, seen: Seen) -> None:
    for event in watching:
        seen.append(event)


def wait_for(seen: Seen, *changes: Change) -> None:
    until(
        f"{changes}", lambda: [one.change for one in seen] == list(changes), Deadline.after(60),
        last_words=lambda: str(seen),
    )  # fmt: skip


def test_a_containers_life_is_told_in_order_with_its_labels(
    engine: Engine, stack: str, spec: ContainerSpec, follow: Follow
) -> None:
    seen = follow(stack)
    engine.create(spec)
    engine.start(spec.name)
    pause(engine, spec.name)
    engine.start(spec.name)
    engine.stop(spec.name, 1)
    engine.remove(Kind.CONTAINER, spec.name)
    wait_for(
        seen, Change.CREATED, Change.STARTED, Change.PAUSED, Change.RESUMED, Change.ENDED, Change.REMOVED
    )
    assert {(one.name, one.component) for one in seen} == {(spec.name, Component.POD)}
    assert all(one.labels.items() >= spec.labels.items() for one in seen)
    assert [one.exit_code is not None for one in seen] == [one.change is Change.ENDED for one in seen]
    assert [one.at_ns for one in seen] == sorted(one.at_ns for one in seen)


def test_another_stacks_containers_are_not_told(
    engine: Engine, stack: str, spec: ContainerSpec, follow: Follow
) -> None:
    seen = follow(f"{stack}x")
    other = replace(
        spec, name=f"{stack}x_pod_0", labels=component_labels(f"{stack}x", Component.POD, pod="0", ports="1")
    )
    engine.create(spec)
    engine.create(other)
    try:
        wait_for(seen, Change.CREATED)
        assert seen[0].name == other.name
    finally:
        engine.remove(Kind.CONTAINER, other.name)


def test_what_happened_since_a_moment_comes_again_first(
    engine: Engine, stack: str, spec: ContainerSpec, follow: Follow
) -> None:
    seen = follow(stack)
    engine.create(spec)
    engine.start(spec.name)
    wait_for(seen, Change.CREATED, Change.STARTED)
    again = follow(stack, seen[1].at_ns)
    engine.remove(Kind.CONTAINER, spec.name)
    wait_for(again, Change.STARTED, Change.ENDED, Change.REMOVED)
    assert again[0] == seen[1]
