"""WAL segment files: their names, and reading one record, just enough to know what a stopped cluster needs.

Owns: the name of the segment of an LSN; how long a record of a length is; reading the record at an LSN with
its CRC verified. Does not do: walking WAL (that is pg_waldump's: walk.py) or cutting it (cut.py).

Page header (src/include/access/xlog_internal.h), at the start of every 8192-byte WAL page:
   0  2  magic            8  8  LSN of the page     24  8  system identifier   } long header: first page
   2  2  flags             16 4  rest of a record   32  4  segment size        } of a segment, 40 bytes
   4  4  timeline         20  4  padding: 24 bytes  36  4  WAL block size      }
Flags: 0x01 the page begins with the rest of a record, 0x02 long header.
Record header (xlogrecord.h), 24 bytes, may cross a page: 0 total length u32, 4 xid u32, 8 previous LSN
u64, 16 info u8, 17 resource manager u8, 18 padding, 20 CRC-32C of the bytes after the header, then [0, 20).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn

PAGE = 8192
_HEADER = 24
_SHORT, _LONG = 24, 40
_GOES_ON = 0x01
_LONGEST = 1 << 20  # a checkpoint record has 114 bytes; what claims more than this is not one
XLOG_RMGR = 0
CHECKPOINT_SHUTDOWN = 0x00


@dataclass(frozen=True)
class Record:
    """One WAL record: [start, end) with `end` rounded up to 8, where the next one begins."""

    start: Lsn
    end: Lsn
    rmgr: int
    info: int

    @property
    def is_shutdown_checkpoint(self) -> bool:
        return self.rmgr == XLOG_RMGR and self.info & 0xF0 == CHECKPOINT_SHUTDOWN


def segment_name(timeline: int, lsn: Lsn, segment_size: int) -> str:
    """The file that holds the byte at `lsn`."""
    number = lsn.value // segment_size
    per_id = (1 << 32) // segment_size
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def record_end(start: Lsn, length: int, segment_size: int) -> Lsn:
    """Where a record of `length` bytes at `start` ends: page headers stepped over, rounded up to 8."""
    position = start.value
    while length:
        position = after_page_header(Lsn(position), segment_size).value
        step = min(length, PAGE - position % PAGE)
        position += step
        length -= step
    return Lsn(position + 7 & ~7)


def after_page_header(lsn: Lsn, segment_size: int) -> Lsn:
    """The first byte at or after `lsn` that isn't the header of the page that begins there."""
    if lsn.value % PAGE:
        return lsn
    return Lsn(lsn.value + (_SHORT if lsn.value % segment_size else _LONG))


def claimed_length(head: bytes) -> int:
    """How long the record that begins with these bytes claims to be; 0 if no record can be."""
    length = int.from_bytes(head[:4], "little")
    return length if length >= _HEADER else 0


def rest_of_record(page: bytes) -> int:
    """How much of a record goes on in the page that begins with these bytes."""
    flags, rest = struct.unpack_from("<2xH12xI", page)
    return rest if flags & _GOES_ON else 0


def before_page_header(lsn: Lsn, segment_size: int) -> Lsn:
    """The end of what precedes a record at `lsn`: where its page begins, if that holds nothing before it."""
    page = Lsn(lsn.value - lsn.value % PAGE)
    return page if after_page_header(page, segment_size) == lsn else lsn


def segments_between(timeline: int, start: Lsn, end: Lsn, segment_size: int) -> list[str]:
    """The files that hold the bytes [start, end)."""
    numbers = range(start.value // segment_size, (end.value - 1) // segment_size + 1)
    return [segment_name(timeline, Lsn(n * segment_size), segment_size) for n in numbers]


def read_record(pg_wal: Path, timeline: int, lsn: Lsn, segment_size: int) -> Record:
    """The record at `lsn`. Raises `Corrupt` if it is not there whole with the right CRC."""
    reader = _Reader(pg_wal, timeline, lsn, segment_size)
    header = reader.take(_HEADER)
    length, info, rmgr, crc = *struct.unpack_from("<I", header), header[16], header[17], header[20:24]
    if not _HEADER <= length <= _LONGEST:
        raise Corrupt(f"no WAL record at {lsn}", detail=f"Its length would be {length}.")
    body = reader.take(length - _HEADER)
    computed = google_crc32c.extend(google_crc32c.value(body), header[:20])
    if computed != int.from_bytes(crc, "little"):
        raise Corrupt(f"checksum of the WAL record at {lsn} does not match", detail=f'Read from "{pg_wal}".')
    return Record(lsn, Lsn(reader.position + 7 & ~7), rmgr, info)


class _Reader:
    """Takes record bytes from `position` on, stepping over page headers."""

    def __init__(self, pg_wal: Path, timeline: int, lsn: Lsn, segment_size: int) -> None:
        self._pg_wal, self._timeline, self._segment_size = pg_wal, timeline, segment_size
        self.position = lsn.value

    def take(self, count: int) -> bytes:
        parts = []
        while count:
            self.position = after_page_header(Lsn(self.position), self._segment_size).value
            step = min(count, PAGE - self.position % PAGE)
            parts.append(self._read(step))
            self.position += step
            count -= step
        return b"".join(parts)

    def _read(self, count: int) -> bytes:
        path = self._pg_wal / segment_name(self._timeline, Lsn(self.position), self._segment_size)
        try:
            with path.open("rb") as file:
                file.seek(self.position % self._segment_size)
                data = file.read(count)
        except FileNotFoundError:
            data = b""
        if len(data) != count:
            raise Corrupt(
                f"WAL at {Lsn(self.position)} is missing", detail=f'"{path}" is absent or too short.'
            )
        return data
