"""A folder of WAL segments: which are there, and their bytes.

Owns: finding segments by name, a complete one (`<segment>`) or one that is still being received
(`<segment>.partial`, pg_receivewal's word); reading them. Writes nothing, and doesn't know what a record is.

Invariant: what it gives out is of the folder's timeline and of full size. A shorter `.partial` is left out:
pg_receivewal fills a new one with zeros before it puts WAL into it, so there is none in it; but a shorter one
with anything else in it was cut by somebody, and that is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import segment_name

PARTIAL = ".partial"
_BLOCK = 1 << 18
_ZEROS = bytes(_BLOCK)
_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?")


@dataclass(frozen=True)
class WalFolder:
    path: Path
    timeline: int
    segment_size: int

    def number(self, lsn: Lsn) -> int:
        """Of the segment that holds the byte at `lsn`."""
        return lsn.value // self.segment_size

    def begin(self, number: int) -> Lsn:
        return Lsn(number * self.segment_size)

    def name(self, number: int) -> str:
        return segment_name(self.timeline, self.begin(number), self.segment_size)

    def complete(self, number: int) -> Path:
        return self.path / self.name(number)

    def partial(self, number: int) -> Path:
        return self.path / (self.name(number) + PARTIAL)

    def names(self) -> Iterator[tuple[int, int, Path]]:
        """(timeline, number, file) of all that have a segment's name."""
        per_id = (1 << 32) // self.segment_size
        for path in self.path.iterdir():
            if match := _NAME.fullmatch(path.name):
                timeline, high, low = (int(match[n], 16) for n in (1, 2, 3))
                yield timeline, high * per_id + low, path

    def files(self) -> dict[int, Path]:
        """The segments there are, by number in order; a complete one before a partial one."""
        # One that gets its complete name while the folder is listed may be listed under neither, and the
        # end of WAL would seem to be before it: hence two listings.
        numbers = {number for _ in range(2) for tli, number, _ in self.names() if tli == self.timeline}
        seen = {number: next(filter(self._counts, self._either(number)), None) for number in sorted(numbers)}
        return {number: path for number, path in seen.items() if path is not None}

    def _either(self, number: int) -> tuple[Path, ...]:
        """Where a segment may be. While we look, a partial one may become complete; never the other way
        round under a receiver."""
        return self.complete(number), self.partial(number), self.complete(number)

    def _counts(self, path: Path) -> bool:
        try:
            size = path.stat().st_size
            if size == self.segment_size:
                return True
            if path.suffix == PARTIAL and size < self.segment_size:
                data = path.read_bytes()  # by now it may be of full size
                if len(data) == self.segment_size or not data.strip(b"\0"):
                    return len(data) == self.segment_size
        except FileNotFoundError:
            return False
        raise Corrupt(
            f'WAL segment "{path.name}" has a wrong size',
            detail=f'"{path}" has {size} bytes, not {self.segment_size}.',
            code="wal_size",
        )

    def open(self, number: int) -> BinaryIO:
        """The segment, whichever name it has. Raises `Corrupt` naming it if it isn't there."""
        for path in self._either(number):
            try:
                return path.open("rb")
            except FileNotFoundError:
                continue
        raise missing(self, number)

    def read(self, number: int) -> bytes:
        """The bytes of a segment."""
        return self.head(number, self.segment_size)

    def head(self, number: int, count: int) -> bytes:
        """The first bytes of a segment."""
        with self.open(number) as file:
            self._check_size(number, file)
            return file.read(count)

    def filled(self, number: int) -> int:
        """How many bytes of a segment there are up to the last one that isn't zero. Reads it from its end."""
        with self.open(number) as file:
            self._check_size(number, file)
            end = self.segment_size
            while end:
                begin = max(0, end - _BLOCK)
                file.seek(begin)
                data = file.read(end - begin)
                if data != _ZEROS[: len(data)]:
                    return begin + len(data.rstrip(b"\0"))
                end = begin
        return 0

    def _check_size(self, number: int, file: BinaryIO) -> None:
        size = os.fstat(file.fileno()).st_size
        if size != self.segment_size:
            raise Corrupt(
                f'WAL segment "{self.name(number)}" has a wrong size',
                detail=f'In "{self.path}" it has {size} bytes, not {self.segment_size}.',
                code="wal_size",
            )

    def run(self, first: int, files: dict[int, Path]) -> int:
        """The last of the segments that follow `first` without a gap. Raises `Corrupt` naming a segment
        that is missing between those that are there, or `first`."""
        if first not in files:
            raise missing(self, first)
        last = max(files)
        for number in range(first, last):
            if number not in files:
                raise missing(self, number)
        return last

    def last_byte(self, start: Lsn, last: int) -> Lsn:
        """The end of what isn't zero from `start` to the end of the segment `last`; `start` if all is."""
        for number in range(last, self.number(start) - 1, -1):
            end = self.begin(number).value + self.filled(number)
            if end > max(start.value, self.begin(number).value):
                return Lsn(end)
        return start


def missing(folder: WalFolder, number: int) -> Corrupt:
    return Corrupt(
        f'WAL segment "{folder.name(number)}" is missing',
        detail=f'It is not in "{folder.path}"; it holds {folder.begin(number)} and what follows.',
        code="wal_missing",
    )
