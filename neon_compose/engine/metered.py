"""An engine whose calls are counted and timed. What streams is passed on: its time is its reader's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from neon_compose.engine.runtime import (
    EVERYTHING,
    ContainerSpec,
    Engine,
    Kind,
    Network,
    NetworkSpec,
    Volume,
    VolumeSpec,
    World,
)
from neon_compose.engine.watching import Line, Watching
from neon_compose.errors import NeonError
from neon_compose.metrics import Count, Durations, Family

T = TypeVar("T")


class MeteredEngine:
    """`Engine` over another one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls = Count("engine_calls_total", "Calls to the container engine, by their outcome.")
        self._times = Durations(
            "engine_call_duration_seconds", "How long calls to the container engine took."
        )

    def families(self) -> list[Family]:
        return [self._calls.family(), self._times.family()]

    def _call(self, call: str, work: Callable[[], T]) -> T:
        outcome = "bug"
        try:
            with self._times.timed(call=call):
                result = work()
            outcome = "ok"
            return result
        except NeonError as error:
            outcome = error.kind
            raise
        finally:
            self._calls.one(call=call, outcome=outcome)

    # ---- Runtime

    def observe(self, stack: str | None, kinds: tuple[Kind, ...] = EVERYTHING) -> World:
        return self._call("observe", lambda: self._engine.observe(stack, kinds))

    def ensure_volume(self, spec: VolumeSpec) -> Volume:
        return self._call("ensure_volume", lambda: self._engine.ensure_volume(spec))

    def ensure_network(self, spec: NetworkSpec) -> Network:
        return self._call("ensure_network", lambda: self._engine.ensure_network(spec))

    def create(self, spec: ContainerSpec) -> None:
        self._call("create", lambda: self._engine.create(spec))

    def start(self, name: str) -> None:
        self._call("start", lambda: self._engine.start(name))

    def stop(self, name: str, timeout_s: float) -> None:
        self._call("stop", lambda: self._engine.stop(name, timeout_s))

    def remove(self, kind: Kind, name: str) -> None:
        self._call("remove", lambda: self._engine.remove(kind, name))

    def wait(self, name: str, timeout_s: float) -> int:
        return self._call("wait", lambda: self._engine.wait(name, timeout_s))

    # ---- Reader

    def logs(self, name: str, tail: int = 20) -> list[str]:
        return self._call("logs", lambda: self._engine.logs(name, tail))

    def follow(self, name: str, tail: int = 20) -> Iterator[str]:
        return self._engine.follow(name, tail)

    def read_archive(self, name: str, path: str) -> Iterator[bytes]:
        return self._engine.read_archive(name, path)

    # ---- Watcher

    def watch(self, stack: str, since_ns: int | None = None) -> Watching:
        return self._call("watch", lambda: self._engine.watch(stack, since_ns))

    def lines(
        self, name: str, tail: int | None = None, since: str = "", *, follow: bool = False
    ) -> Iterator[Line]:
        return self._engine.lines(name, tail, since, follow=follow)
