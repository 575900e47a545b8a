"""Safekeepers that end are started again."""

from __future__ import annotations

from typing import Any

from neon_compose.controller import stack
from neon_compose.controller.recorder import Recorder
from neon_compose.controller.reviving import Reviver, revive
from neon_compose.engine.runtime import ContainerState, Kind
from neon_compose.wait import Deadline, until
from neon_compose.wire.rest import StackIn
from tests.site import Fixture

CONFIG: dict[str, Any] = {"name": "t", "minio": False, "safekeepers": 2, "storages": {"main": {}}}


def up(fixture: Fixture) -> None:
    stack.apply(fixture.site, StackIn(config=CONFIG))
    fixture.site.ready.set()


def state(fixture: Fixture, number: int) -> ContainerState | None:
    found = fixture.site.snapshot().safekeeper(number)
    return found.state if found else None


def test_one_that_ended_is_started_when_the_engine_tells_of_it(bare: Fixture) -> None:
    up(bare)
    reviver = Reviver(bare.site)
    recorder = Recorder(bare.engine, "t", bare.site.events, reviver.tell)
    recorder.start()
    reviver.start()
    try:
        bare.engine.stop("t_safekeeper_2", 1)
        until("it to run", lambda: state(bare, 2) is ContainerState.RUNNING, Deadline.after(30))
        bare.engine.remove(Kind.CONTAINER, "t_safekeeper_1")
        until("it to be made", lambda: state(bare, 1) is ContainerState.RUNNING, Deadline.after(30))
    finally:
        recorder.close()
        reviver.close()


def test_nothing_is_started_while_the_stack_stops(bare: Fixture) -> None:
    up(bare)
    bare.engine.stop("t_safekeeper_1", 1)
    bare.site.phase = "stopping"
    revive(bare.site)
    assert state(bare, 1) is ContainerState.EXITED


def test_where_all_run_nothing_is_done(bare: Fixture) -> None:
    up(bare)
    calls = len(bare.engine.calls)
    revive(bare.site)
    assert not any(call.startswith(("start", "create")) for call in bare.engine.calls[calls:])
