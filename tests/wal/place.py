"""What the cases share. Runs inside a container."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neon_compose import wait
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.walk import walk
from neon_compose.safekeeper.receiver import Receiver
from neon_compose.safekeeper.segments import Segments
from tests.wal.server import (
    SUBJECT,
    V17,
    Server,
    Template,
)

STANDBY = f'ANY 1 ("{SUBJECT.name}")'
INSERT = "INSERT INTO t SELECT n, repeat('x', 700) FROM generate_series({0}, {1}) n"


@dataclass
class Place:
    template: Template
    home: Path
    small: Path
    rounds: int
    rng: random.Random

    def server(self, name: str = "primary") -> Server:
        return Server(self.template, self.home / name)


def raises(kind: type[Exception], call: Callable[[], object], *words: str) -> None:
    try:
        found = call()
    except kind as error:
        said = f"{error} {getattr(error, 'detail', '')}"
        assert all(word in said for word in words), said
    else:
        raise AssertionError(f"no {kind.__name__}, but {found}")


def end_of(place: Place, segments: Segments) -> Lsn:
    """Where the WAL in the segments ends, as a member says it after a crash."""
    segments.settle()
    held = segments.held()
    assert held is not None
    return walk(V17, segments.folder, place.template.redo, known=max(held.whole, place.template.start)).end


def await_flushed(receiver: Receiver, lsn: Lsn) -> None:
    wait.until(f"{lsn} to be flushed", lambda: (receiver.flushed() or Lsn(0)) >= lsn, wait.Deadline.after(20))
