"""Cutting WAL: the bytes a server is to replay out of a folder of segments, and not one more.

Owns `Cut` and copying one into a pg_wal. Knows nothing of records: that `end` is where a record ends, and
that the WAL before it is sound, is checked when WAL arrives (DESIGN 6) and proven by where recovery ends.

Recovery takes whatever looks like the next record, on an unchanged timeline also what an earlier life of the
file left there. So behind `end` there are zeros, up to the end of a segment: the one that holds the byte at
`end` is made even if nothing of it is in the cut. They are written rather than left as a hole, as Postgres
does it, so that a full disk doesn't meet a server in the middle of its WAL.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import segments_between

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_PRIVATE_FILE = 0o600


@dataclass(frozen=True)
class Cut:
    """The WAL before `end`, in the segment files of `folder`, which may hold more and is only read."""

    folder: Path
    end: Lsn


def copy_cut(cut: Cut, pg_wal: Path, timeline: int, start: Lsn, segment_size: int) -> None:
    """Put the segments from that of `start` to that of the cut's end into the folder `pg_wal`, which has
    none of them.

    Not durable on return. Raises `Corrupt` naming the first segment that is missing or too short.
    """
    *whole, last = segments_between(timeline, start, Lsn(cut.end.value + 1), segment_size)
    for name in whole:
        _copy(cut.folder / name, pg_wal / name, segment_size, segment_size)
    _copy(cut.folder / last, pg_wal / last, cut.end.value % segment_size, segment_size)


def _copy(source: Path, target: Path, wanted: int, size: int) -> None:
    """The first `wanted` bytes of `source`, then zeros up to `size`."""
    out = os.open(target, _CREATE, _PRIVATE_FILE)
    try:
        if wanted:
            _send(source, out, wanted)
        zeros = memoryview(bytes(size - wanted))
        while zeros:
            zeros = zeros[os.write(out, zeros) :]
    finally:
        os.close(out)


def _send(source: Path, out: int, wanted: int) -> None:
    try:
        fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Corrupt(
            f'WAL segment "{source.name}" is missing', detail=f'It is not in "{source.parent}".'
        ) from None
    try:
        done = 0
        while done < wanted:
            sent = os.sendfile(out, fd, done, wanted - done)
            if not sent:
                raise Corrupt(
                    f'WAL segment "{source.name}" is too short',
                    detail=f'"{source}" has {done} bytes, {wanted} are needed.',
                )
            done += sent
    finally:
        os.close(fd)
