"""What the controller relies on of an engine that tells what goes on, on the fake one and on Docker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from neon_compose.engine import images
from neon_compose.engine.docker import connect
from neon_compose.engine.labels import component_labels, resource_labels
from neon_compose.engine.runtime import ContainerSpec, Engine, Kind
from neon_compose.engine.watching import Change, ContainerEvent, Watching
from neon_compose.errors import NotFound
from neon_compose.model.states import Component
from neon_compose.wait import Deadline, until
from tests.contract.test_runtime import SHORT, TALK, engine, image, pause, spec, stack

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


@pytest.mark.parametrize("follow", [True, False])
def test_lines_have_stamps_by_which_they_are_found_again(
    engine: Engine, spec: ContainerSpec, follow: bool
) -> None:
    engine.create(replace(spec, command=TALK))
    engine.start(spec.name)
    engine.wait(spec.name, 60)
    first, second = engine.lines(spec.name, follow=follow)
    assert (first.text, second.text) == ("one", "two")
    assert first.stamp < second.stamp
    assert list(engine.lines(spec.name, since=second.stamp, follow=follow)) == [second]
    assert list(engine.lines(spec.name, tail=1, follow=follow)) == [second]
    assert list(engine.lines(spec.name, since="2999-01-01T00:00:00.000000000Z", follow=follow)) == []


def test_lines_that_come_are_followed_until_the_container_ends(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(replace(spec, command=SHORT))
    engine.start(spec.name)
    seen = engine.observe(None).container(spec.name)
    assert seen is not None
    assert [line.text for line in engine.lines(seen.id, follow=True)] == ["before", "after"]


def test_a_container_that_is_not_there_has_no_lines(engine: Engine, stack: str) -> None:
    with pytest.raises(NotFound):
        list(engine.lines(f"{stack}_nobody"))


@pytest.mark.docker
def test_a_line_that_the_engine_cuts_into_pieces_is_one_line_again(stack: str) -> None:
    real = connect()
    image = images.ensure(("base",), lambda *_, **__: None)["base"]
    say = ("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    long = ContainerSpec(f"{stack}_long", image, labels=resource_labels(stack), command=say)
    try:
        real.create(long)
        real.start(long.name)
        real.wait(long.name, 60)
        first, last = real.lines(long.name)
        assert (first.text, last.text) == ("x" * 100_000, "end")
    finally:
        real.remove(Kind.CONTAINER, long.name)
