"""Overlay: which blocks of a branch one compute has in its own files. Made here, written by the shim only.

Owns making an empty overlay and reading one; the shim (images/compute/shim) owns setting bits.
Little endian, CRC = CRC-32C.

header, 4096 bytes
   0  8  magic "NEONOVL1"            56  8  n_bits     = the map's
   8  4  version = 1                 64  8  offset of bits  = 4096
  12  4  header size = 4096          72  8  offset of flags = 4096 + round_up(ceil(n_bits / 8), 4096)
  16 16  branch id (RFC 4122 order)  80  8  file size       = flags + round_up(n_segments, 4096)
  32 16  tip layer id = the map's    88 ..  zero
  48  4  the map's CRC of its tables 4092 4  CRC of bytes [0, 4092)
  52  4  n_segments = the map's
bits: block b of segment s is bit s.first_bit + b; bit i is byte i/8, mask 1 << (i % 8). 1: the local file
has this block. Bits only ever go up, so a torn or partial write of them is harmless.
flags: a byte per segment; 1: created, cut or extended at least once since layout; 2: made anew after an
unlink, so nothing of the layer is under it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neon_compose import durable
from neon_compose.layer.branchmap import MapHeader
from neon_compose.layer.tables import check_header, damaged, seal

MAGIC = b"NEONOVL1"
VERSION = 1
HEADER_SIZE = 4096
_PAGE = 4096
_HEADER = struct.Struct("<8sII16s16sIIQQQQ")


@dataclass(frozen=True)
class Overlay:
    branch_id: UUID
    tip: UUID
    map_crc: int
    n_segments: int
    n_bits: int
    bits: bytes  # n_bits / 8 of them, rounded up
    flags: bytes  # n_segments of them

    def has(self, bit: int) -> bool:
        return bool(self.bits[bit // 8] >> bit % 8 & 1)

    @property
    def own_blocks(self) -> int:
        """How many blocks the compute has persisted of its own."""
        return int.from_bytes(self.bits, "little").bit_count()


def create_overlay(dst: Path, branch_map: MapHeader, branch_id: UUID) -> None:
    """Make an overlay at `dst` in which every block is the map's; replaces what is there.

    A sparse file, renamed into place but not synced: the marker of the layout comes after a sync of
    the whole file system (DESIGN 4), and until then the volume is not trusted after another boot.
    """
    with durable.aside(dst) as file:
        file.write(encode_header(branch_map, branch_id))
        file.truncate(size(branch_map))
        file.rename(durable=False)


def size(branch_map: MapHeader) -> int:
    """The size in bytes of an overlay over this map."""
    return _offsets(branch_map.n_bits, branch_map.n_segments)[1]


def encode_header(branch_map: MapHeader, branch_id: UUID) -> bytes:
    """The first 4096 bytes; everything after them is zero in a fresh overlay."""
    at_flags, end = _offsets(branch_map.n_bits, branch_map.n_segments)
    header = bytearray(HEADER_SIZE)
    _HEADER.pack_into(
        header,
        0,
        MAGIC,
        VERSION,
        HEADER_SIZE,
        branch_id.bytes,
        branch_map.tip.bytes,
        branch_map.crc,
        branch_map.n_segments,
        branch_map.n_bits,
        HEADER_SIZE,
        at_flags,
        end,
    )
    return seal(header)


def read_overlay(path: Path) -> Overlay:
    """The overlay at `path`, its header verified (bits and flags have no checksum: they are written in
    place). Raises `Corrupt`, `Conflict` (newer format) or OSError."""
    raw = path.read_bytes()
    check_header(raw, HEADER_SIZE, MAGIC, VERSION, path)
    _, _, _, branch, tip, crc, n_segments, n_bits, at_bits, at_flags, end = _HEADER.unpack_from(raw)
    if at_bits != HEADER_SIZE or (at_flags, end) != _offsets(n_bits, n_segments) or len(raw) != end:
        raise damaged(path, f"It has {len(raw)} bytes, {end} by its header, or its parts do not fit.")
    return Overlay(
        branch_id=UUID(bytes=branch),
        tip=UUID(bytes=tip),
        map_crc=crc,
        n_segments=n_segments,
        n_bits=n_bits,
        bits=raw[at_bits : at_bits + (n_bits + 7) // 8],
        flags=raw[at_flags : at_flags + n_segments],
    )


def _offsets(n_bits: int, n_segments: int) -> tuple[int, int]:
    """(offset of flags, file size)"""
    at_flags = HEADER_SIZE + _round_up((n_bits + 7) // 8)
    return at_flags, at_flags + _round_up(n_segments)


def _round_up(count: int) -> int:
    return (count + _PAGE - 1) // _PAGE * _PAGE
