"""How a keeper stands at one moment, and what it works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import NeonError
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.flushes import Flushes, Receiving
from neon_compose.safekeeper.peers import Connect
from neon_compose.safekeeper.record import Record, Source
from neon_compose.safekeeper.segments import Segments
from neon_compose.safekeeper.subject import Primary, Subject
from neon_compose.safekeeper.wal import Walk
from neon_compose.terms import members
from neon_compose.terms.members import Member


@dataclass(frozen=True)
class Around:
    """What a keeper uses beyond its folder."""

    walk: Walk
    receiver: Callable[[Segments, Subject, Primary, Path], Receiving]  # the file is for its words
    connect: Connect
    said: Path


@dataclass(frozen=True)
class Running:
    source: Source
    receiver: Receiving
    flushes: Flushes


@dataclass(frozen=True)
class Now:
    """The state of a branch at one moment. `member.flushed` is without what `running` has flushed since it
    began; before the folder is settled, a lower bound."""

    record: Record
    member: Member
    running: Running | None = None
    trouble: NeonError | OSError | None = None  # why it is not settled, or its receiver not running

    def live(self) -> Member:
        """The member with what its receiver has flushed by now."""
        if self.running is None:
            return self.member
        return self._received(self.running.flushes.ask())

    def heard(self) -> Member:
        """The member with what its receiver was heard to have flushed; asks nobody."""
        return self._received(self.running.flushes.highest) if self.running else self.member

    def _received(self, end: Lsn) -> Member:
        assert self.running is not None
        return members.receive(self.member, self.running.source.term, self.member.flushed, end)
