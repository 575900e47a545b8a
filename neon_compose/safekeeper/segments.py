"""The WAL of one branch and term on disk: a folder of `<segment>`, and `<segment>.partial` as the last.

Owns: every change of that folder but pg_receivewal's own: the segment a receiver goes on from, the cut at the
start of a term, what is copied from peers, trimming. Does not do: deciding any LSN (the term protocol does),
finding where WAL ends (postgres/walk.py does).

pg_receivewal asks nobody where to start: it takes the segment after the last complete one, or the last one
again if that is partial, from its first byte on. It overwrites a partial one of full size without zeroing it,
and skips a complete one of a wrong size. Hence, held at every moment, also by a kill -9 or a power cut:

1. Segments follow each other without a gap, and each has one name.
2. Past what was put in or received there are zeros only. (What was being written as the power went off may be
   torn; it was acknowledged to nobody, and the next term's cut clears it.)

A folder that breaks this was damaged, and is an error naming the segment, never a place to go on from.

The folder's lock says who may change it: whoever has it open, and the receiver that was given the
descriptor. The kernel keeps the lock while either lives, so a receiver left behind by a killed supervisor
keeps everybody out instead of renaming files under their hands.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from neon_compose import durable
from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.walfolder import PARTIAL, WalFolder

_LOCK = ".lock"


@dataclass(frozen=True)
class Held:
    """The WAL in a folder: every byte from `start` to `whole` is there; it ends between `whole` and `limit`,
    the walk says where."""

    start: Lsn
    whole: Lsn
    limit: Lsn


class Segments:
    """See the module. All that a method changed is durable when it returns."""

    def __init__(self, folder: WalFolder, lock: int) -> None:
        self.folder = folder
        self.lock = lock

    @classmethod
    def open(cls, path: Path, timeline: int, segment_size: int) -> Segments:
        """The folder `path`, made if absent, put into order after a crash, and ours until `close`.

        Raises `Conflict` while another process has it, `Corrupt` if it isn't what this module left.
        """
        durable.make_folder(path)
        found = cls.take(path, timeline, segment_size)
        try:
            found.settle()
        except BaseException:
            found.close()
            raise
        return found

    @classmethod
    def take(cls, path: Path, timeline: int, segment_size: int) -> Segments:
        """As `open`, for a folder that this process makes or has just made: it is in order, and `seed` makes
        durable what is in it. That the folder itself is, is the caller's to see to."""
        path.mkdir(durable.PRIVATE_FOLDER, exist_ok=True)
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, durable.PRIVATE_FILE)
        try:
            _take(lock, path)
        except BaseException:
            os.close(lock)
            raise
        return cls(WalFolder(path, timeline, segment_size), lock)

    def close(self) -> None:
        if self.lock >= 0:
            os.close(self.lock)
        self.lock = -1

    def __enter__(self) -> Segments:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def settle(self) -> None:
        """Make what a dead receiver left durable, and the folder such that another goes on from it.

        Complete segments are durable: pg_receivewal syncs them before it gives them their name. The partial
        one may hold what it wrote and didn't sync, or couldn't: after a sync that failed another one may
        succeed with nothing on disk. So it is written anew, and nobody walks and reports it before. A short
        one holds no WAL (see WalFolder): pg_receivewal ran out of room filling it, and would refuse to go on
        from it; it is filled here, with the room reserved. Not to be called while a receiver runs.
        """
        durable.sweep(self.folder.path)
        present = self._present()
        for number, path in present.items():
            if path.suffix != PARTIAL:
                continue
            if number != max(present):
                raise Corrupt(f'WAL segment "{path.name}" is not complete, and later ones are there')
            short = path.stat().st_size < self.folder.segment_size
            self._write_partial(
                number, b"" if short else self.folder.head(number, self.folder.filled(number))
            )
        durable.sync_folder(self.folder.path)

    def held(self) -> Held | None:
        """What WAL is here; None if there is none. Raises `Corrupt` naming a segment that is missing."""
        files = self.folder.files()
        if not files:
            return None
        first = min(files)
        last = self.folder.run(first, files)
        limit = self.folder.begin(last + 1)
        whole = self.folder.begin(last) if files[last].suffix == PARTIAL else limit
        return Held(self.folder.begin(first), whole, limit)

    def seed(self, at: Lsn, before: bytes) -> None:
        """Begin the folder at `at`: a receiver will go on from the segment that holds it.

        `before` is that segment's WAL up to `at`. One rename: a crash leaves nothing or all of it. Repeated,
        it changes nothing; raises `Conflict` if there is other WAL, which may have been acknowledged.
        """
        number = self.folder.number(at)
        if len(before) != at.value % self.folder.segment_size:
            raise Invalid(f"{len(before)} bytes are not the segment's WAL up to {at}")
        present = self._present()
        if list(present) == [number] and self.folder.read(number) == self._padded(before):
            return
        if present:
            raise Conflict(
                f'"{self.folder.path}" holds WAL already',
                detail=f'It has {len(present)} segments, among them "{self.folder.name(max(present))}".',
                code="wal_there",
            )
        self._write_partial(number, before)

    def adopt(self, start: Lsn) -> None:
        """Cut the WAL at `start`, where another term begins: up to there as it was, zeros after it.

        Nothing else may be taken for WAL after `start`: a stale tail on the same timeline *is* replayed. So:
        1. Later segments go, the last one first, each before the next (the folder is synced in between). A
           crash leaves what the folder held before, less of its end: no gap for a receiver to start after.
        2. The segment of `start` gets its partial name, if it was complete: then the cut copy, which has
           that name too, replaces it in one step. Both names at once would make a receiver start after the
           complete one, with the stale tail under its feet.
        3. The copy is written aside, synced, and renamed.
        Until 3 this is still the old term's WAL, which is true: the caller records the adoption only when
        this has returned, and repeats it after a crash. Nobody received in between: we have the lock.

        Raises `Conflict` if the segment of `start` is not here: the caller catches up first. That the WAL
        walks up to `start` is the caller's to know.
        """
        self.settle()
        number, head = self.folder.number(start), start.value % self.folder.segment_size
        present = self._present()
        ends_before = not head and number - 1 in present
        if number not in present and not ends_before:
            raise Conflict(
                f"there is no WAL up to {start}",
                detail=f'Segment "{self.folder.name(number)}" is not in "{self.folder.path}".',
                code="wal_behind",
            )
        for later in sorted((n for n in present if n > number), reverse=True):
            self._remove(later)
        if ends_before:
            self._complete(number - 1)
        before = self.folder.head(number, head) if head else b""
        if number in present and self.folder.complete(number).exists():
            self.folder.complete(number).rename(self.folder.partial(number))
            durable.sync_folder(self.folder.path)
        self._write_partial(number, before)

    def extend(self, at: Lsn, data: bytes) -> None:
        """Append WAL from a peer or the archive at `at`, the end of what is here by the walk.

        Each segment is replaced by a copy with more in it, in order: a crash leaves a shorter extension.
        Raises `Conflict` if `at` isn't in the last segment or right after it.
        """
        self.settle()
        while data:
            number, head = self.folder.number(at), at.value % self.folder.segment_size
            present = self._present()
            after_last = bool(present) and not head and number == max(present) + 1
            if not after_last and (not present or number != max(present)):
                raise Conflict(f"the WAL here does not end at {at}", code="wal_behind")
            if after_last:
                self._complete(number - 1)
            part = data[: self.folder.segment_size - head]
            before = self.folder.head(number, head) if head else b""
            if self.folder.complete(number).exists():
                raise Conflict(f'segment "{self.folder.name(number)}" is complete', code="wal_there")
            self._write_partial(number, before + part)
            if head + len(part) == self.folder.segment_size:
                self._complete(number)
            at, data = Lsn(at.value + len(part)), data[len(part) :]

    def replace(self, number: int, data: bytes) -> None:
        """Put a whole segment in the place of a damaged or missing complete one. One rename."""
        if len(data) != self.folder.segment_size:
            raise Invalid(f'{len(data)} bytes are not segment "{self.folder.name(number)}"')
        if self.folder.partial(number).exists() or number > max(self._present(), default=-1):
            raise Conflict(f'segment "{self.folder.name(number)}" was never complete here', code="wal_behind")
        with durable.aside(self.folder.complete(number)) as copy:
            copy.write(data)
            copy.rename()

    def read(self, start: Lsn, end: Lsn) -> Iterator[tuple[str, bytes]]:
        """The segments that hold [`start`, `end`) by name, each of full size, zeros from `end` on.

        Also while a receiver runs; `end` is what it has flushed, at most. Raises `Corrupt` naming a segment
        that isn't here.
        """
        for number in range(self.folder.number(start), self.folder.number(Lsn(end.value - 1)) + 1):
            keep = min(end.value - self.folder.begin(number).value, self.folder.segment_size)
            yield self.folder.name(number), self._padded(self.folder.read(number)[:keep])

    def trim(self, upto: Lsn) -> list[str]:
        """Remove the complete segments that end by `upto`, but never the last; their names.

        The oldest first, each before the next: a crash leaves no gap. Also while a receiver runs.
        """
        present = self._present()
        gone = [n for n in sorted(present) if self.folder.begin(n + 1) <= upto and n != max(present)]
        for number in gone:
            self._remove(number)
        return [self.folder.name(number) for number in gone]

    # ---- the folder

    def _present(self) -> dict[int, Path]:
        """Every segment by number, a partial one of any size too. Raises `Corrupt` for what can't be."""
        found = self.folder.files()
        for timeline, number, path in self.folder.names():
            if timeline != self.folder.timeline:
                raise Corrupt(
                    f'WAL segment "{path.name}" is of another timeline',
                    detail=f'All in "{self.folder.path}" are of timeline {self.folder.timeline}.',
                    code="wal_timeline",
                )
            found.setdefault(number, path)
            # In this order: a receiver may rename it while we look.
            if self.folder.complete(number).exists() and self.folder.partial(number).exists():
                raise Corrupt(f'WAL segment "{self.folder.name(number)}" is in "{path.parent}" twice')
        return found

    def _padded(self, head: bytes) -> bytes:
        return head.ljust(self.folder.segment_size, b"\0")

    def _write_partial(self, number: int, head: bytes) -> None:
        """The partial segment with `head` and zeros after it, in one rename. Room for all of it is taken
        now: a full disk shows here, or as pg_receivewal fills a segment of its own, never inside one. The
        zeros are not written, though: a branch is opened in less time than that takes."""
        with durable.aside(self.folder.partial(number)) as copy:
            os.posix_fallocate(copy.fd, 0, self.folder.segment_size)
            copy.write(head)
            copy.rename()

    def _complete(self, number: int) -> None:
        """Give a partial segment that is full its complete name. It is settled, so its bytes are durable."""
        partial = self.folder.partial(number)
        if partial.exists():
            partial.rename(self.folder.complete(number))
            durable.sync_folder(self.folder.path)

    def _remove(self, number: int) -> None:
        for path in (self.folder.partial(number), self.folder.complete(number)):
            path.unlink(missing_ok=True)
        durable.sync_folder(self.folder.path)


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f'"{path}" is in use',
            detail="Another safekeeper process, or a receiver one left behind, has it open.",
            code="wal_in_use",
        ) from error
