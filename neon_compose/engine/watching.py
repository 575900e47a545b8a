"""What goes on in an engine, as it happens: the third Protocol beside `Runtime` and `Reader`.

tests/fakes.py has an in-memory one, `engine.docker` the real one, and tests/contract/test_watcher.py runs
on both. A container that loses its network, and an engine that ends, are not told: whoever must know looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

from neon_compose.engine import labels as label
from neon_compose.model.states import Component


class Change(StrEnum):
    """The engine's own words for what becomes of a container; others are left out."""

    CREATED = "create"
    STARTED = "start"
    ENDED = "die"
    REMOVED = "destroy"
    PAUSED = "pause"
    RESUMED = "unpause"
    OUT_OF_MEMORY = "oom"


@dataclass(frozen=True)
class ContainerEvent:
    """`at_ns` is the engine's clock, in nanoseconds since 1970; `exit_code` is of `ENDED` alone."""

    at_ns: int
    change: Change
    name: str
    id: str
    labels: Mapping[str, str]
    exit_code: int | None = None

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.at_ns / 1e9, UTC)

    @property
    def component(self) -> Component | None:
        name = self.labels.get(label.COMPONENT)
        return Component(name) if name in list(Component) else None


@dataclass(frozen=True)
class Line:
    """What a container said. Stamps are the engine's time as text of one width: they sort as they came."""

    stamp: str
    text: str


def stamp_of(at: datetime) -> str:
    """The stamp of a line said at `at`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"


class Watching(Protocol):
    """Events as they come. Iterated by one thread; ended by any."""

    def __iter__(self) -> Iterator[ContainerEvent]:
        """Blocks for the next. Ends after `close`, or when the engine goes away: neither is an error."""

    def close(self) -> None:
        """End it. Repeat is success."""


class Watcher(Protocol):
    """Follows what goes on."""

    def watch(self, stack: str, since_ns: int | None = None) -> Watching:
        """Changes of the containers labelled with `stack`, in order, from this call on.

        Before them come those since `since_ns` that the engine still remembers: some hundred of all its
        containers. One at exactly `since_ns` comes again. `Unavailable`.
        """

    def lines(
        self, name: str, tail: int | None = None, since: str = "", *, follow: bool = False
    ) -> Iterator[Line]:
        """The last `tail` lines (None: all) of stdout and stderr whose stamp is not before `since`.

        With `follow` also those that come, until the container ends. `NotFound`, `Unavailable`.
        """
