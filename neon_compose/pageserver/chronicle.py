"""What went on in a branch, minute by minute, as its own committed WAL says.

Reads the newest WAL first, layer by layer, and no further back than the minutes that are asked for. In memory
are as many minutes as that, however many commits they have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain, islice, pairwise
from typing import Protocol

from neon_compose.model.lsn import Lsn
from neon_compose.pageserver.moments import Moments
from neon_compose.postgres.commits import Commit
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.wire.chronicle import BranchLog, LogMinute

_MINUTE = timedelta(minutes=1)


class Records(Protocol):
    """What there is in WAL that was checked."""

    def commits(self, wal: WalFolder, start: Lsn, upto: Lsn) -> Generator[Commit]:
        """See `walk.commits`."""
        ...


@dataclass(frozen=True)
class Minute:
    """Commits that come one after another in WAL, from the end of the first to that of the last."""

    minute: datetime
    commits: int
    catalog_changes: int
    first: Lsn
    last: Lsn

    @classmethod
    def of(cls, commit: Commit) -> Minute:
        minute = commit.at.replace(second=0, microsecond=0)
        return cls(minute, 1, int(commit.changed_catalogs), commit.end, commit.end)

    def takes(self, later: Minute) -> bool:
        """A commit takes its time before its place in WAL, so at a minute's turn some come late."""
        return self.minute - _MINUTE <= later.minute <= self.minute

    def joined(self, later: Minute) -> Minute:
        return replace(
            self,
            commits=self.commits + later.commits,
            catalog_changes=self.catalog_changes + later.catalog_changes,
            last=later.last,
        )


def by_minute(parts: Iterable[Minute], keep: int) -> deque[Minute]:
    """The last `keep` minutes of `parts`, which come as they do in WAL."""
    found: deque[Minute] = deque(maxlen=keep)
    for part in parts:
        if found and found[-1].takes(part):
            found[-1] = found[-1].joined(part)
        else:
            found.append(part)
    return found


@dataclass(frozen=True)
class Chronicle:
    moments: Moments
    records: Records

    def of(self, branch: str, limit: int) -> BranchLog:
        """The newest `limit` minutes. Raises `NotFound`, and `Unavailable` or `Corrupt` for WAL that can't be
        read."""
        own = self.moments.own(branch)
        found: deque[Minute] = deque()
        for stretch in own.stretches:
            with closing(self.records.commits(stretch.folder, stretch.start, stretch.end)) as commits:
                found = by_minute(chain(map(Minute.of, commits), found), limit + 1)
            if len(found) > limit:
                break
        more = len(found) > limit
        return BranchLog(
            start_lsn=str(own.begin),
            end_lsn=str(own.end),
            minutes=list(_told(found, own.begin, skip=more)),
            more=more,
        )


def _told(minutes: Iterable[Minute], begin: Lsn, *, skip: bool) -> Iterator[LogMinute]:
    """`skip`: the first one is there only to say where its WAL ends."""
    ends = chain((begin,), (one.last for one in minutes))
    sizes = (last.value - before.value for before, last in pairwise(ends))
    for one, size in islice(zip(minutes, sizes, strict=True), int(skip), None):
        yield LogMinute(
            minute=one.minute,
            commits=one.commits,
            catalog_changes=one.catalog_changes,
            first_lsn=str(one.first),
            last_lsn=str(one.last),
            wal_bytes=size,
        )
