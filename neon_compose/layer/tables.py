"""What index, map and overlay have in common: CRC-checked headers, uuids, tables of fixed-size entries.

Invariant: nothing of a file is used before its size, magic, version and both CRCs are right, and every
failure is `Corrupt` naming the file and what differs (or `Conflict` code "newer_format").
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c

from neon_compose.errors import Conflict, Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[int, ...]


def crc32c(data: bytes) -> int:
    return google_crc32c.value(data)  # type: ignore[no-any-return]


def seal(header: bytearray) -> bytes:
    """`header` with the CRC of all but its last four bytes in those."""
    struct.pack_into("<I", header, len(header) - 4, crc32c(bytes(header[:-4])))
    return bytes(header)


def check_header(raw: bytes, size: int, magic: bytes, version: int, path: Path | str) -> None:
    """Raise unless `raw` begins with a sealed header of `size` bytes, this magic and this version."""
    if len(raw) < size:
        raise damaged(path, f"It has {len(raw)} bytes, its header alone has {size}.")
    if raw[:8] != magic:
        raise damaged(path, f"It begins with {raw[:8]!r}, not {magic!r}.")
    check_crc(raw[: size - 4], int.from_bytes(raw[size - 4 : size], "little"), "header", path)
    found = int.from_bytes(raw[8:12], "little")
    if found > version:
        raise newer_format(path, found, version)
    if found != version or int.from_bytes(raw[12:16], "little") != size:
        raise damaged(path, f"Its version is {found} and its header size is not {size}.")


def check_crc(data: bytes, expected: int, what: str, path: Path | str) -> None:
    computed = crc32c(data)
    if computed != expected:
        raise damaged(path, f"The checksum of its {what} is {computed:08x}, it says {expected:08x}.")


def rows(raw: bytes, offset: int, count: int, entry: struct.Struct) -> Iterator[Row]:
    """The `count` entries from `offset` on; the caller has checked that they are there."""
    return entry.iter_unpack(memoryview(raw)[offset : offset + count * entry.size])


def damaged(path: Path | str, detail: str) -> Corrupt:
    return Corrupt(f'"{path}" is damaged', detail=detail)


def newer_format(path: Path | str, found: object, known: int) -> Conflict:
    return Conflict(
        f'"{path}" has a newer format',
        detail=f"Its version is {found}, this neon-compose knows {known}.",
        hint="Use the neon-compose that wrote it, or a newer one.",
        code="newer_format",
    )
