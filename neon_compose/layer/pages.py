"""Writing a .pages file: dense 8192-byte blocks and nothing else, all-zero blocks left out.

The hot loop of packing. One pass: a read of 256 KiB, a compare with a zero page without a copy (memcmp stops
at the first byte that differs), a CRC per page, one write and one hash update per run of pages. Holes are
found by SEEK_DATA and not read. Invariant: pages written = checksums = pages the extents name.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import google_crc32c
import xxhash

from neon_compose.durable import Aside
from neon_compose.errors import Conflict
from neon_compose.layer.index import ZERO_PAGE, Extent
from neon_compose.layer.keys import BLOCK

# Not 1 MiB: malloc maps and unmaps that anew for every read, and its page faults cost more than the copy
# (tried: 1 GiB in 2.6 to 4.2 s by 1 MiB, in 0.8 to 1.8 s by 256 KiB).
READ_SIZE = 1 << 18
_ZERO = bytes(BLOCK)


class PageWriter:
    """Appends the blocks of files to `out`, keeping checksums and the content hash."""

    def __init__(self, out: Aside, advance: Callable[[int], None]) -> None:
        self._out = out
        self._advance = advance  # told the bytes of each step, holes included
        self._hash = xxhash.xxh3_128()
        self.page_crcs: array[int] = array("I")

    @property
    def content_hash(self) -> bytes:
        return self._hash.digest()

    def add_file(self, path: Path, size: int) -> tuple[Extent, ...]:
        """Append the non-zero blocks of the file at `path`; its extents cover [0, size / 8192).

        Raises `Conflict` if its size is not `size` any more: something writes to the cluster.
        """
        runs = _Runs()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != size:
                raise _changed(path)
            for start, end, is_hole in _ranges(fd, size):
                if is_hole:
                    runs.zeros((end - start) // BLOCK)
                    self._advance(end - start)
                else:
                    self._add_range(fd, start, end, runs, path)
        finally:
            os.close(fd)
        return runs.extents

    def add_blocks(self, path: Path, blocks: int, ranges: Iterable[tuple[int, int]]) -> tuple[Extent, ...]:
        """Append some blocks of a file that has `blocks`: `ranges` of (first block, count), ascending.

        Raises `Conflict` if its size is another one: something writes to the cluster.
        """
        runs = _Runs()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size != blocks * BLOCK:
                raise _changed(path)
            for first, count in ranges:
                runs.skip_to(first)
                self._add_range(fd, first * BLOCK, (first + count) * BLOCK, runs, path)
        finally:
            os.close(fd)
        return runs.extents

    def add_runs(self, parts: Iterable[bytes | int]) -> tuple[Extent, ...]:
        """Append the blocks of a segment from its first on: whole pages, or how many zero ones follow."""
        runs = _Runs()
        for part in parts:
            if isinstance(part, int):
                runs.zeros(part)
            else:
                self._add_pages(part, runs)
                self._advance(len(part))
        return runs.extents

    def _add_range(self, fd: int, start: int, end: int, runs: _Runs, path: Path) -> None:
        for at in range(start, end, READ_SIZE):
            wanted = min(READ_SIZE, end - at)
            data = os.pread(fd, wanted, at)
            if len(data) != wanted:
                raise _changed(path)
            self._add_pages(data, runs)
            self._advance(wanted)

    def _add_pages(self, data: bytes, runs: _Runs) -> None:
        crc, append, is_zero = google_crc32c.value, self.page_crcs.append, data.startswith
        start = 0
        for at in range(0, len(data), BLOCK):
            if is_zero(_ZERO, at):
                self._flush(data, start, at, runs)
                runs.zeros(1)
                start = at + BLOCK
            else:
                append(crc(data[at : at + BLOCK]))
        self._flush(data, start, len(data), runs)

    def _flush(self, data: bytes, start: int, end: int, runs: _Runs) -> None:
        if start == end:
            return
        run = memoryview(data)[start:end]
        count = (end - start) // BLOCK
        runs.pages(count, len(self.page_crcs) - count)
        self._out.write(run)
        self._hash.update(run)


class _Runs:
    """Joins neighbouring runs of one segment to extents."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []
        self._block = 0

    @property
    def extents(self) -> tuple[Extent, ...]:
        return tuple(self._extents)

    def skip_to(self, block: int) -> None:
        """What lies between is not in this layer."""
        self._block = block

    def zeros(self, count: int) -> None:
        self._add(count, ZERO_PAGE, ZERO_PAGE)

    def pages(self, count: int, page: int) -> None:
        last = self._extents[-1] if self._extents else None
        joins = last is not None and last.page != ZERO_PAGE and last.page + last.length == page
        self._add(count, page, last.page if joins and last else -1)

    def _add(self, count: int, page: int, joined: int) -> None:
        last = self._extents[-1] if self._extents else None
        if last is not None and last.page == joined and last.block + last.length == self._block:
            self._extents[-1] = last._replace(length=last.length + count)
        else:
            self._extents.append(Extent(self._block, count, page))
        self._block += count


def _ranges(fd: int, size: int) -> Iterator[tuple[int, int, bool]]:
    """(start, end, is a hole) over [0, size), at page boundaries; a hole holds no data at all."""
    if size <= READ_SIZE:  # one read is cheaper than asking
        if size:
            yield 0, size, False
        return
    at = 0
    while at < size:
        data = _seek(fd, at, os.SEEK_DATA, size) // BLOCK * BLOCK
        if data > at:
            yield at, data, True
        if data >= size:
            return
        at = min(size, -(-_seek(fd, data, os.SEEK_HOLE, size) // BLOCK) * BLOCK)
        yield data, at, False


def _seek(fd: int, at: int, whence: int, size: int) -> int:
    try:
        return os.lseek(fd, at, whence)
    except OSError:  # ENXIO: no data after `at`
        return size


def _changed(path: Path) -> Conflict:
    return Conflict(
        f'"{path}" changed while it was packed',
        detail="A server is running on this data directory.",
        code="changed",
    )
