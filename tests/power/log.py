"""Reads the recorder's log (recorder.h tells its format)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

_HEADER_BYTES = 64
_RECORD = struct.Struct("<IIQQQII")


class Kind(IntEnum):
    WRITE = 1  # a: offset; data
    TRUNCATE = 2  # a: size
    EXTEND = 3  # a: size at least
    CREATE = 4  # a: folder; b: whether it is a folder itself; data: name
    UNLINK = 5  # a: folder; data: name; a file or a folder
    RENAME = 6  # a, b: folders; data: both names with a 0 between
    LINK = 7  # a: folder; data: name
    SYNC_BEGIN = 8  # inode 0: everything
    SYNC_END = 9  # a: where it began
    NOTE = 10  # data: the workload's own words


class Record(NamedTuple):
    at: int
    kind: Kind
    inode: int
    a: int
    b: int
    data: bytes


def make(path: Path, capacity: int) -> None:
    """An empty log for a recorder to open; sparse."""
    with path.open("wb") as file:
        file.truncate(capacity)


def end(path: Path) -> int:
    """Where the next record will begin: whatever was done before now lies before it."""
    with path.open("rb") as file:
        return int(struct.unpack("<Q", file.read(8))[0])


def read(path: Path) -> Iterator[Record]:
    stop = end(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as log:
        at = _HEADER_BYTES
        while at < stop:
            size, kind, inode, a, b, n, _ = _RECORD.unpack_from(log, at)
            data = log[at + _RECORD.size : at + _RECORD.size + n]
            yield Record(at, Kind(kind), inode, a, b, data)
            at += size
