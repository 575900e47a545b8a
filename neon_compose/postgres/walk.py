"""The walk: where WAL ends, record by record, and which record a time means.

Owns: judging what pg_waldump says of WAL that lies in a folder: it checks each record's CRC and its link to
the one before (DESIGN 6), we never parse records. What we read ourselves is which bytes are zero.

Why it isn't enough to take the first bad record for the end: crash recovery does, and thereby loses what was
committed after a flipped byte. So the caller says up to where WAL is *known* to be there (whole segments
received, the commit LSN: the end of a record or of a page), and an end before that is an error that names
segment and LSN. Past it anything may be the end: what was being received when the power went off is torn.
One thing can't be told from a record that was cut off: a flipped length of one on the last page before a
`known` that is the end of a page, with nothing after it. A `known` at the end of a record has no such case.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from pathlib import Path

from neon_compose.errors import Corrupt, Invalid, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.commits import Commit, parse_commit
from neon_compose.postgres.versions import Version
from neon_compose.postgres.wal import (
    PAGE,
    after_page_header,
    before_page_header,
    claimed_length,
    record_end,
    rest_of_record,
)
from neon_compose.postgres.waldump import Dump, Line, dumping
from neon_compose.postgres.walfolder import WalFolder, missing

_BAD_RECORD = re.compile(r"error in WAL record at|could not find a valid record after")
_BAD_FIRST_PAGE = re.compile(r"invalid WAL segment size in WAL file")


class Stop(Enum):
    """Why a walk ended where it did."""

    ZEROS = "zeros"  # nothing but zeros follows
    CUT = "cut"  # a record begins there, the rest of it is zeros or past the last segment
    BROKEN = "broken"  # bytes follow that are no valid record, beyond what is known to be there
    BOUND = "bound"  # there was no more to read, or it wasn't asked for


@dataclass(frozen=True)
class Walked:
    """WAL is whole from the start up to `end`, the end of a record (or the start, if none follows).

    `last_record` is where that record begins, None if none follows: what replaying up to `end` has for its
    recovery_target_lsn. `last_checkpoint` is where the last record of a checkpoint begins.
    """

    end: Lsn
    stop: Stop
    said: str = ""  # pg_waldump's words on it
    last_record: Lsn | None = None
    last_checkpoint: Lsn | None = None


def walk(
    version: Version, wal: WalFolder, start: Lsn, *, known: Lsn | None = None, upto: Lsn | None = None
) -> Walked:
    """Check all records from `start`, the begin or end of one, up to the last valid one that ends by `upto`.

    Raises `Corrupt`, naming segment and LSN, if WAL ends before `known`, or a segment is missing that isn't
    the next one; `Invalid` if no record begins at `start`. `upto` normalises: the end of the walk is the
    end of the last record that is whole at `upto`. Of WAL that is being received, only `end` counts.
    """
    known = max(known or start, start)
    stretch = _Stretch.find(wal, start, upto)
    if known > stretch.end:
        raise missing(wal, wal.number(stretch.end))
    if wal.last_byte(start, stretch.last) == start:
        return _checked(wal, known, upto, Walked(start, Stop.ZEROS))
    bound = min(upto or stretch.end, stretch.end)
    if bound <= start:
        return Walked(start, Stop.BOUND)
    with stretch.dumping(version, bound) as dump:
        ends = dump.ends()
        said, failed = dump.complaint(), dump.failed()
    first, last = ends.first, ends.last
    if first is None and upto is not None and stretch.holds_record(version):
        return Walked(start, Stop.BOUND)
    if first is not None and first.start != after_page_header(start, wal.segment_size):
        raise Invalid(
            f"no WAL record begins at {start}",
            detail=f"The next one begins at {first.start}.",
            code="no_record",
        )
    end = last.end(wal.segment_size) if last else start
    if failed:
        walked = _checked(wal, known, upto, _judged(wal, end, stretch, said))
    else:
        walked = Walked(end, Stop.BOUND if upto is not None or end == bound else Stop.CUT)
    checkpoint = ends.checkpoint.start if ends.checkpoint else None
    return replace(walked, last_record=last.start if last else None, last_checkpoint=checkpoint)


def normalise(version: Version, wal: WalFolder, start: Lsn, lsn: Lsn) -> Lsn:
    """The end of the last record that ends by `lsn`, walking from `start`. Raises as `walk` with
    `known=lsn` does: WAL that ends before `lsn` has no such moment."""
    return walk(version, wal, start, known=lsn, upto=lsn).end


@dataclass(frozen=True)
class Found:
    """Where a moment lies in WAL: the end of what was there by then, None if no commit came after it; and
    the times of the first commit looked at and of the last (the one after the moment, if there is one)."""

    lsn: Lsn | None
    first: datetime | None
    last: datetime | None


def find_time(version: Version, wal: WalFolder, start: Lsn, upto: Lsn, moment: datetime) -> Found:
    """Where in [`start`, `upto`) the moment lies: before the first commit that was made after it.

    That is the rule of recovery_target_time; it holds for a clock that was set back too, as the commits
    come in WAL. `upto` is the end of a record to which the WAL walks. Raises `Corrupt` if it doesn't.
    """
    first = last = None
    with closing(commits(version, wal, start, upto)) as found:
        for one in found:
            first, last = first or one.at, one.at
            if last > moment:
                return Found(before_page_header(one.start, wal.segment_size), first, last)
    return Found(None, first, last)


def commits(version: Version, wal: WalFolder, start: Lsn, upto: Lsn) -> Generator[Commit]:
    """The commits in [`start`, `upto`), as they come in WAL; pg_waldump runs until it is closed.

    `upto` is the end of a record to which the WAL walks. Raises `Corrupt` if it doesn't.
    """
    if upto <= start:
        return
    with _Stretch.find(wal, start, upto).dumping(version, upto, "--rmgr=Transaction") as dump:
        for text in dump.lines():
            line = Line.parse(text)
            found = parse_commit(line, wal.segment_size, version.major) if line else None
            if found is not None:
                yield found
        said, failed = dump.complaint(), dump.failed()
    if failed:
        raise _damaged(wal, start, f"It was to be read up to {upto}. {said}")


@dataclass(frozen=True)
class _Stretch:
    """Consecutive segments of a folder, from the one that holds `start`."""

    wal: WalFolder
    start: Lsn
    last: int

    @classmethod
    def find(cls, wal: WalFolder, start: Lsn, upto: Lsn | None) -> _Stretch:
        """As far as there are any, or those before `upto`: what follows a gap after that is no concern."""
        files = wal.files()
        if upto is not None:
            last = max(wal.number(start), wal.number(Lsn(max(upto.value - 1, 0))))
            files = {number: path for number, path in files.items() if number <= last}
        first = wal.number(start)
        if files and max(files) + 1 == first and start == wal.begin(first):
            return cls(wal, start, first - 1)  # all of it is there, and nothing follows
        return cls(wal, start, wal.run(first, {n: path for n, path in files.items() if n >= first}))

    @property
    def end(self) -> Lsn:
        return self.wal.begin(self.last + 1)

    def holds_record(self, version: Version) -> bool:
        """Whether a whole record begins at `start`."""
        with self.dumping(version, self.end, "--limit=1") as dump:
            first = dump.ends().first
        return first is not None and first.start == after_page_header(self.start, self.wal.segment_size)

    @contextmanager
    def dumping(self, version: Version, bound: Lsn, *options: str) -> Iterator[Dump]:
        """pg_waldump from `start` up to `bound`."""
        first, last = self.wal.number(self.start), self.wal.number(Lsn(bound.value - 1))
        names = self.wal.name(first), self.wal.name(last)
        with _view(self.wal, first, last) as folder:
            try:
                with dumping(version, folder, self.start, *names, f"--end={bound}", *options) as dump:
                    yield dump
            except OSError as error:
                raise Unavailable("could not run pg_waldump", detail=str(error)) from error


@contextmanager
def _view(wal: WalFolder, first: int, last: int) -> Iterator[Path]:
    """A folder in which each segment has its complete name.

    A partial one goes by a descriptor of ours: it may get its complete name while it is read.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neon-walk-")))
        for number in range(first, last + 1):
            target = wal.complete(number)
            if not target.exists():
                file = stack.enter_context(wal.open(number))
                target = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            (folder / wal.name(number)).symlink_to(target)
        yield folder


def _judged(wal: WalFolder, end: Lsn, stretch: _Stretch, said: str) -> Walked:
    """What the bytes after the last valid record are."""
    torn_page = _BAD_FIRST_PAGE.search(said) and stretch.start == wal.begin(wal.number(stretch.start))
    if not (_BAD_RECORD.search(said) or torn_page):
        raise _damaged(wal, end, said)
    filled = wal.last_byte(end, stretch.last)
    if filled == end:
        return Walked(end, Stop.ZEROS, said)
    whole = _cut_record_end(wal, end, filled)
    cut = whole is not None and filled.value + 7 & ~7 < whole.value
    return Walked(end, Stop.CUT if cut else Stop.BROKEN, said)


def _cut_record_end(wal: WalFolder, end: Lsn, upto: Lsn) -> Lsn | None:
    """Where the record after `end` is to end, as its header and each page it goes on in before `upto` say.

    None if they don't agree: then it is no record that was cut off.
    """
    size = wal.segment_size
    begin = after_page_header(end, size)
    length = claimed_length(_bytes(wal, begin, 4))
    if not length:
        return None
    page = begin.value // PAGE * PAGE + PAGE
    left = length - (page - begin.value)
    while left > 0 and page < upto.value:
        if rest_of_record(_bytes(wal, Lsn(page), 24)) != left:
            return None
        left -= PAGE - (after_page_header(Lsn(page), size).value - page)
        page += PAGE
    return record_end(begin, length, size)


def _bytes(wal: WalFolder, lsn: Lsn, count: int) -> bytes:
    """Some bytes of one page."""
    with wal.open(wal.number(lsn)) as file:
        file.seek(lsn.value % wal.segment_size)
        return file.read(count)


def _checked(wal: WalFolder, known: Lsn, upto: Lsn | None, walked: Walked) -> Walked:
    """Refuse an end before what is known to be there.

    One is fine: a record that begins before `known`, a page's end, and is to end after it. A `known` within
    a page is the end of a record, and no record can go over it.
    """
    if walked.end >= (known if upto is None else min(known, upto)):
        return walked
    if walked.stop is Stop.CUT and known.value % PAGE == 0:
        whole = _cut_record_end(wal, walked.end, known)
        if whole is not None and whole > known:
            return walked
    raise _damaged(wal, walked.end, f"WAL is known to go on to {known}. {walked.said}".strip())


def _damaged(wal: WalFolder, lsn: Lsn, said: str) -> Corrupt:
    begin = after_page_header(lsn, wal.segment_size)
    number = wal.number(begin)
    end = record_end(begin, claimed_length(_bytes(wal, begin, 4)), wal.segment_size)
    further = f' The record there goes on in "{wal.name(number + 1)}".' if end > wal.begin(number + 1) else ""
    return Corrupt(
        f'WAL segment "{wal.name(number)}" is damaged at {lsn}',
        detail=f'In "{wal.path}" no valid record follows there.{further} {said}'.strip(),
        hint="Another copy of this segment, on another safekeeper or in the archive, may be whole.",
        code="wal_damaged",
    )
