"""Copying WAL from other safekeepers: who may be copied from, and a piece at a time.

What a peer holds is of our history only as long as it isn't cut (invariant 10 of terms/register.py), and it
may be cut while it is read. A cut comes after a promise and before another history is recorded, and leaves
less: so it is looked at before and after. What was read counts if identity, promise and history are the same,
and it still supplies all that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from neon_compose.errors import NeonError, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History
from neon_compose.terms.members import Copy, Member, supplies
from neon_compose.wire.safekeeper import BranchStatus, Peer, history_of


class Other(Protocol):
    """What is asked of another safekeeper (wire/safekeeper_client.py)."""

    def branch(self, branch: UUID) -> BranchStatus: ...

    def wal(self, branch: UUID, start: Lsn, end: Lsn) -> Iterator[bytes]: ...


Connect = Callable[[str], AbstractContextManager[Other]]  # by host


@dataclass(frozen=True)
class Piece:
    """WAL from where it was asked for, and who gave it."""

    start: Lsn
    data: bytes
    host: str

    @property
    def end(self) -> Lsn:
        return Lsn(self.start.value + len(self.data))


def fetch(
    connect: Connect, branch: UUID, peers: Sequence[Peer], history: History, step: Copy, segment_size: int
) -> Piece:
    """WAL from the step's start, up to the end of its segment at most, from the first peer that has any.

    Raises `Unavailable` code "no_supplier" that says of each what it lacks.
    """
    bound = min(step.end.value, (step.start.value // segment_size + 1) * segment_size)
    reasons = []
    for peer in peers:
        try:
            with connect(peer.host) as other:
                data = _from(other, branch, peer, history, step.start, Lsn(bound))
        except NeonError as error:
            reasons.append(f"{peer.host}: {error.message}.")
            continue
        return Piece(step.start, data, peer.host)
    raise Unavailable(
        f"no other safekeeper gives the WAL from {step.start} to {step.end}",
        detail=" ".join(reasons) or "None was named.",
        hint="Start the safekeepers that are down: neon-compose status shows them.",
        code="no_supplier",
    )


def _from(other: Other, branch: UUID, peer: Peer, history: History, start: Lsn, bound: Lsn) -> bytes:
    before = _looked(other, branch, peer)
    end = min(supplies(before, history), bound)
    if before.oldest > start or end <= start:
        raise Unavailable(f"it has none of it, but {before.oldest} to {before.flushed} of {before.history}")
    data = b"".join(other.wal(branch, start, end))
    after = _looked(other, branch, peer)
    same = (before.promised, before.history) == (after.promised, after.history)
    if not same or supplies(after, history) < end or len(data) != end.value - start.value:
        raise Unavailable("its WAL changed while it was read")
    return data


def _looked(other: Other, branch: UUID, peer: Peer) -> Member:
    status = other.branch(branch)
    if status.identity != peer.identity:
        raise Unavailable(f"it is safekeeper {status.identity}, not {peer.identity}")
    return Member(
        UUID(status.identity),
        status.promised,
        history_of(status.history),
        Lsn.parse(status.oldest),
        Lsn.parse(status.flushed),
    )
