"""What a receiver is doing, and what the end of an attempt means.

Owns: the states people see, and telling a full disk, WAL that is gone, a primary that isn't ours and one that
doesn't answer apart, by the error or by pg_receivewal's last words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psycopg

from neon_compose import disks
from neon_compose.errors import Conflict, DiskFull, NeonError, Unavailable

_DISK = disks.Disks([disks.Place(Path("/"), "the disk of the safekeeper")])
_REMOVED = re.compile(r"has already been removed|can no longer get changes from replication slot")


class Condition(Enum):
    """What a receiver is doing."""

    CONNECTING = "connecting"  # verifying the primary, or starting
    RECEIVING = "receiving"
    UNREACHABLE = "unreachable"  # the primary doesn't answer, or the stream broke; tried again
    REFUSED = "refused"  # the server there is not this branch's primary of this term; tried again
    WAL_GONE = "wal gone"  # the primary no longer has what comes next: to be filled from elsewhere
    DISK_FULL = "disk full"  # acknowledges nothing; tried again, goes on when there is room
    FAILED = "failed"  # the folder is damaged, or something unforeseen; tried again
    STOPPED = "stopped"


@dataclass(frozen=True)
class State:
    """What a receiver is doing, and what made it stop receiving."""

    condition: Condition
    trouble: NeonError | None = None


class Ended(Exception):
    """pg_receivewal is gone; its last words."""


def wal_gone(said: str) -> Conflict:
    return Conflict(
        "the primary no longer has the WAL that comes next here",
        detail=said,
        hint="It has to come from another safekeeper or from the archive.",
        code="wal_gone",
    )


def state_after(error: Exception) -> State:
    """What an attempt's end means."""
    said = str(error).strip()
    if isinstance(error, Ended) and _REMOVED.search(said):
        return State(Condition.WAL_GONE, wal_gone(said))
    about_disk = _about_our_disk(error, said)
    if about_disk is not None and about_disk.code == "disk_full":
        return State(Condition.DISK_FULL, _disk_full(said))
    if about_disk is not None:
        return State(Condition.FAILED, about_disk)
    if isinstance(error, Conflict):
        return State(_REFUSALS.get(error.code, Condition.FAILED), error)
    if isinstance(error, NeonError):
        return State(Condition.FAILED, error)
    if isinstance(error, psycopg.OperationalError | Ended):
        return State(Condition.UNREACHABLE, Unavailable("the primary can't be received from", detail=said))
    return State(Condition.FAILED, Unavailable("the receiver failed", detail=said))


def _about_our_disk(error: Exception, said: str) -> NeonError | None:
    """The error in words about a disk; None if it isn't about one, or about the primary's."""
    if isinstance(error, Ended):
        ours = [line for line in said.splitlines() if "FATAL:" not in line and "ERROR:" not in line]
        return _DISK.explain(Unavailable("the receiver ended", detail="\n".join(ours)))
    return _DISK.explain(error) if isinstance(error, NeonError | OSError) else None


def _disk_full(said: str) -> DiskFull:
    return DiskFull(
        f"{_DISK.places[0].words} is full",
        detail=said,
        hint="Make room on it. Until then commits that wait for this safekeeper don't end; it goes on by "
        "itself.",
        code="disk_full",
    )


_REFUSALS = {
    "other_primary": Condition.REFUSED,
    "primary_behind": Condition.REFUSED,
    "wal_gone": Condition.WAL_GONE,
}
