"""Has a compute writes of its own?

A compute *has writes* once its WAL after its start holds the commit (or preparation) of a transaction.
Everything a user could miss is committed, nextval and CREATE DATABASE too. Other records come from
reading alone: hint bits (XLOG), running transactions (Standby), and pruning by a SELECT (Heap2; tried:
one pg_dump of a fresh import pruned pg_statistic). It stays so for good. The WAL is read by the real
pg_waldump, of a live compute up to what it has flushed. A wrong "no" would let the only copy of somebody's
writes go unasked, so a "no" is remembered only while the files prove that nothing has changed (`stamps`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from neon_compose import wait
from neon_compose.compute.stamps import Stamps, age_ns, stamps_in
from neon_compose.errors import Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.versions import Version
from neon_compose.postgres.wal import segment_name
from neon_compose.postgres.waldump import Dump, dumping, is_end_of_wal

_COMMIT = re.compile(r"desc: (?:COMMIT|PREPARE)")
# In the segment where it was to begin. One without any page header is one that nothing was written to.
_NO_WAL = r"could not find a valid record after|invalid WAL segment size in WAL file \"{first}\""
_SEGMENT_NAME_LENGTH = 24


class WriteScan:
    """Answers `has_writes`, remembering the last answer per WAL folder until its files change. `now_ns` is
    the clock that files are stamped by."""

    def __init__(self, version: Version, now_ns: Callable[[], int] = wait.now_ns) -> None:
        self._version = version
        self._now_ns = now_ns
        self._seen: dict[Path, tuple[Stamps, bool]] = {}

    def has_writes(self, wal: Path, start: Lsn) -> bool:
        """Whether the WAL in the folder `wal` from `start` on holds a write. Raises `Unavailable`."""
        began_ns = self._now_ns()
        try:
            now = tuple(stamps_in(wal, _SEGMENT_NAME_LENGTH))
        except FileNotFoundError:
            return True  # nobody can tell any more
        before = self._seen.get(wal)
        if before is not None and (before[1] or before[0] == now):
            return before[1]
        found = self._scan(wal, start, now)
        if found or age_ns(now, began_ns) > 0:
            self._seen[wal] = (now, found)
        return found

    def forget(self, wal: Path) -> None:
        self._seen.pop(wal, None)

    def _scan(self, wal: Path, start: Lsn, segments: Stamps) -> bool:
        first = _segment_of(start, segments)
        if first is None:
            return True  # recycled: WAL has moved on by more than reading could; or lost
        last = segments[-1].name
        try:
            with dumping(self._version, wal, start, first, last, "--rmgr=Transaction") as dump:
                found = _is_write(dump, wal / first, start.value % segments[0].size)
        except OSError as error:
            raise Unavailable("could not read the compute's WAL", detail=str(error)) from error
        return found or not (wal / first).exists()  # recycled under our eyes by a live compute


def _segment_of(start: Lsn, segments: Stamps) -> str | None:
    """The name of the segment that holds `start`, None if it isn't there."""
    names = [one.name for one in segments]
    if not names:
        return None
    # A compute never changes its timeline (DESIGN 6), but an imported server may have come on any.
    timeline = int(names[0][:8], 16)
    if not segments[0].size:
        return None  # a power cut took what was in it: nobody can say
    first = segment_name(timeline, start, segments[0].size)
    return first if first in names else None


def _is_write(dump: Dump, first: Path, offset: int) -> bool:
    """Read a running pg_waldump up to the first commit. WAL that can't be read may hold one, unless there
    is none at all from `offset` of the segment `first` on: a branch laid out for a moment, never started."""
    if any(_COMMIT.search(line) for line in dump.lines()):
        return True
    complaint = dump.complaint()
    if re.search(_NO_WAL.format(first=first.name), complaint):
        return not _is_zero(first, offset)
    return not is_end_of_wal(complaint)


def _is_zero(segment: Path, offset: int) -> bool:
    """Whether the file is zero from there on. WAL is written without gaps, so then there is none."""
    try:
        with segment.open("rb") as file:
            file.seek(offset)
            return not file.read().strip(b"\0")
    except FileNotFoundError:  # recycled, so there was much
        return False
