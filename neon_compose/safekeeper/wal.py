"""The WAL of one branch as a member knows it: segments.py's folder, walked from what is known to be a record.

Owns: what `flushed` is after a start, a receiver's end or a copy; where records end; giving out bytes.
Does not do: deciding an LSN (terms/members.py), locking (the caller's: see keeper.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from neon_compose import wait
from neon_compose.errors import Conflict
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.safekeeper.segments import Segments
from neon_compose.terms.members import Member

# (folder, start, known, upto) -> where the last whole record ends: see postgres/walk.py
Walk = Callable[[WalFolder, Lsn, Lsn, Lsn | None], Lsn]

_IN_USE_S = 5.0  # for the kernel to end the receiver of a dead supervisor
_PIECE = 1 << 18


class Wal:
    """See the module. `open` comes before all else, and may be repeated."""

    def __init__(self, path: Path, timeline: int, segment_size: int, walk: Walk) -> None:
        self._folder = WalFolder(path, timeline, segment_size)
        self._walk = walk
        self._segments: Segments | None = None
        self._in_order = False  # as `Segments.open` left it
        self._record = Lsn(0)  # the end of a record that was walked to
        self._exact: Lsn | None = (
            None  # there it ends, and zeros follow: nobody received since it was made so
        )

    @property
    def segments(self) -> Segments:
        assert self._segments is not None
        return self._segments

    def begun(self, at: Lsn) -> None:
        """Instead of `open`: this process has just made the folder, and put in it what comes before `at`."""
        folder = self._folder
        self._segments = Segments.take(folder.path, folder.timeline, folder.segment_size)
        self._exact = at

    def lent(self) -> Segments:
        """For a receiver, which puts there what comes."""
        self._exact = None
        return self.segments

    def open(self) -> None:
        """Have the folder, in order and to ourselves. Raises `TimedOut` while another process keeps it."""
        if self._segments is not None:
            return
        folder = self._folder

        def ours() -> Segments | None:
            try:
                return Segments.open(folder.path, folder.timeline, folder.segment_size)
            except Conflict as error:
                if error.code == "wal_in_use":
                    return None
                raise

        self._segments = wait.until(f'"{folder.path}" to be free', ours, wait.Deadline.after(_IN_USE_S))
        self._in_order = True

    def close(self) -> None:
        if self._segments is not None:
            self._segments.close()

    # ---- while no receiver runs

    def settle(self, member: Member) -> Lsn:
        """Sync what is there, and find up to where that is WAL: what `flushed` is from now on.

        Never less than was flushed before: the WAL is synced up to there, be it in the middle of a record.
        """
        if not self._in_order:
            self.segments.settle()
        self._in_order = False
        held = self.segments.held()
        known = max(held.whole if held else member.oldest, member.flushed)
        return max(member.flushed, self._walked(member, known, None))

    def cut(self, at: Lsn) -> None:
        """Up to `at` as it was, zeros after it. It needn't be written again if it is known to be so: a
        branch's first term begins where it was seeded up to a moment ago."""
        if at == self._exact:
            return
        self._exact = None
        self.segments.adopt(at)
        self._exact = at
        if at < self._record:
            self._record = Lsn(0)

    def extend(self, member: Member, data: bytes) -> Lsn:
        """Append what was copied, and check it; the end. Raises `Corrupt`, leaving what was there before, if
        its records don't lead through it."""
        self._exact = None
        held = self.segments.held()
        if held is not None and held.whole > member.flushed:
            # A crash cut off a copy after a whole segment, which ends within a record.
            self.cut(member.flushed)
        self.segments.extend(member.flushed, data)
        end = Lsn(member.flushed.value + len(data))
        try:
            self._walked(member, end, end)
        except BaseException:
            self.cut(member.flushed)
            raise
        return end

    # ---- also while one runs

    def records_end(self, member: Member, upto: Lsn) -> Lsn:
        """The end of the last whole record that ends by `upto`, which is flushed: the end of a record or of a
        page. Raises `Corrupt` where the WAL is damaged before that."""
        bound = max(upto, member.oldest, member.committed)
        return self._walked(member, bound, bound)

    def trim(self, oldest: Lsn) -> None:
        self.segments.trim(oldest)

    def read(self, start: Lsn, end: Lsn) -> Iterator[bytes]:
        """The bytes [start, end) of what is flushed, a piece at a time. Raises `Conflict` if they begin
        before what is kept."""
        held = self.segments.held()
        if held is None or start < held.start:
            raise Conflict(
                f"the WAL from {start} on is not here any more",
                detail=f"It begins at {held.start}." if held else "There is none.",
                code="wal_trimmed",
            )
        return self._pieces(start, end)

    def _pieces(self, start: Lsn, end: Lsn) -> Iterator[bytes]:
        size, at = self._folder.segment_size, start.value
        while at < end.value:
            number = at // size
            stop = min(end.value, (number + 1) * size)
            with self._folder.open(number) as file:
                file.seek(at % size)
                while at < stop:
                    piece = file.read(min(_PIECE, stop - at))
                    if not piece:
                        raise Conflict(f"the WAL changed at {Lsn(at)} while it was read", code="wal_changed")
                    at += len(piece)
                    yield piece

    def allocated_bytes(self) -> int:
        found = 0
        for path in self._folder.path.glob("*"):
            with suppress(FileNotFoundError):  # trimmed, or given its complete name, since it was listed
                found += path.stat().st_blocks * 512
        return found

    def _walked(self, member: Member, known: Lsn, upto: Lsn | None) -> Lsn:
        """Walk on from the last record's end that is known; from there on the next time."""
        start = max(member.oldest, member.committed)
        if self._record > start and (upto is None or self._record <= upto):
            start = self._record
        self._record = self._walk(self._folder, start, max(known, start), upto)
        return self._record
