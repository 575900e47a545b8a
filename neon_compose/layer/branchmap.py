"""Branch map: the read-only index of a tip, relation block -> (layer, page); shared by all its computes.

Owns the format of <tip>.map, building it from layer indexes, and reading it. The C shim maps the same
file (images/compute/shim); tests/golden pins it for both. Derived data: delete it and it is built again.
Little endian, CRC = CRC-32C, block = 8192 bytes.

header, 128 bytes                                   layers, 32 bytes each, bottom to top
   0  8  magic "NEONMAP1"                              0 16  id; the file is <uuid>.pages
   8  4  version = 1                                  16  8  pages in that file
  12  4  header size = 128                            24  8  zero
  16 16  tip layer id (RFC 4122 order)              segments, 40 bytes each, strictly ascending by key
  32 16  storage id                                    0 20  key: spc, db, rel, fork, seg (u32 each)
  48  8  file size                                    20  4  blocks, <= 131072
  56  4  n_layers                                     24  4  first extent
  60  4  n_segments                                   28  4  number of extents
  64  8  n_extents                                    32  8  first bit in the overlay, a multiple of 8
  72  8  offset of layers (= 128)                   extents, 16 bytes each; a segment's are contiguous
  80  8  offset of segments                            and cover [0, blocks)
  88  8  offset of extents                             0  4  first block in the segment
  96  8  n_bits, a multiple of 8                       4  4  count > 0
 104  4  block size = 8192                             8  4  layer (index; 0xFFFFFFFF: all zeros)
 108  4  CRC of bytes [128, file size)                12  4  first page in that layer (0 for zeros)
 112 12  zero
 124  4  CRC of bytes [0, 124)                      The tables follow the header in this order, no gaps.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from neon_compose import durable
from neon_compose.errors import Bug
from neon_compose.layer.index import LayerIndex
from neon_compose.layer.keys import BLOCK, BLOCKS_PER_SEGMENT, SegmentKey
from neon_compose.layer.stacking import ZERO_LAYER, MapExtent, Stacked, stack
from neon_compose.layer.tables import Row, check_crc, check_header, crc32c, damaged, rows, seal

MAGIC = b"NEONMAP1"
VERSION = 1
HEADER_SIZE = 128

_HEADER = struct.Struct("<8sII16s16sQIIQQQQQII12s")
_LAYER = struct.Struct("<16sQQ")
_SEGMENT = struct.Struct("<8IQ")
_EXTENT = struct.Struct("<4I")


@dataclass(frozen=True)
class MapHeader:
    """What an overlay is bound to."""

    tip: UUID
    storage_id: UUID
    n_layers: int
    n_segments: int
    n_extents: int
    n_bits: int
    crc: int  # the field at offset 108: of everything after the header


class MapSegment(NamedTuple):
    key: SegmentKey
    blocks: int
    first_extent: int
    extents: int
    first_bit: int


class Folder(NamedTuple):
    """The relation files of one folder of PGDATA: (name, size in bytes), ascending by key."""

    path: str
    files: tuple[tuple[str, int], ...]


class Place(NamedTuple):
    """Where a block is: a page of a layer, or zeros (layer None)."""

    layer: UUID | None
    page: int


@dataclass(frozen=True)
class BranchMap:
    header: MapHeader
    layers: tuple[tuple[UUID, int], ...]  # (id, pages), bottom to top
    segments: tuple[MapSegment, ...]
    extents: tuple[MapExtent, ...]

    @cached_property
    def folders(self) -> tuple[Folder, ...]:
        """The sparse files of a new branch, grouped by folder, ready to create."""
        grouped: dict[tuple[int, int], list[tuple[str, int]]] = {}
        paths: dict[tuple[int, int], str] = {}
        for key, blocks, *_ in self.segments:
            where = key[:2]
            if where not in grouped:
                grouped[where], paths[where] = [], key.folder()
            grouped[where].append((key.name(), blocks * BLOCK))
        return tuple(Folder(paths[where], tuple(files)) for where, files in grouped.items())

    def segment(self, key: SegmentKey) -> MapSegment | None:
        """The entry of `key`, or None."""
        number = self.number(key)
        return None if number is None else self.segments[number]

    def number(self, key: SegmentKey) -> int | None:
        """Which of the segments has `key`; its flag in an overlay has the same number."""
        at = bisect_left(self.segments, key, key=lambda segment: segment.key)
        return at if at < len(self.segments) and self.segments[at].key == key else None

    def extents_of(self, segment: MapSegment) -> Sequence[MapExtent]:
        return self.extents[segment.first_extent : segment.first_extent + segment.extents]

    def locate(self, key: SegmentKey, block: int) -> Place | None:
        """Where `block` of `key` is; None if there is no such block."""
        segment = self.segment(key)
        if segment is None or not 0 <= block < segment.blocks:
            return None
        own = self.extents_of(segment)
        extent = own[bisect_right(own, block, key=lambda one: one.block) - 1]
        if extent.layer == ZERO_LAYER:
            return Place(None, 0)
        return Place(self.layers[extent.layer][0], extent.page + block - extent.block)


def build_map(indexes: Sequence[LayerIndex], storage_id: UUID, dst: Path) -> MapHeader:
    """Write the map of the layers `indexes` (bottom to top; the first is an image) at `dst`.

    Idempotent: the same layers give the same bytes, and an existing file is replaced by an equal one.
    Written aside, durable on return. Raises `Corrupt` if a layer is of another storage or a block is in
    no layer.
    """
    raw = encode(indexes, storage_id)
    durable.write_file(dst, raw, mode=0o600)
    return read_header(raw, dst)


def read_map(path: Path) -> BranchMap:
    """The map at `path`, verified. Raises `Corrupt`, `Conflict` (newer format) or OSError."""
    return decode(path.read_bytes(), path)


def encode(indexes: Sequence[LayerIndex], storage_id: UUID) -> bytes:
    """The bytes of the map of `indexes` (bottom to top)."""
    if not indexes:
        raise Bug("a branch map needs at least one layer")
    stacked = stack(indexes, storage_id)
    layers = b"".join(_LAYER.pack(one.layer_id.bytes, one.pages, 0) for one in indexes)
    segments, extents, n_bits = _tables(stacked)
    body = b"".join((layers, segments, extents))
    at_segments = HEADER_SIZE + len(layers)
    at_extents = at_segments + len(segments)
    header = bytearray(HEADER_SIZE)
    _HEADER.pack_into(
        header,
        0,
        MAGIC,
        VERSION,
        HEADER_SIZE,
        indexes[-1].layer_id.bytes,
        storage_id.bytes,
        HEADER_SIZE + len(body),
        len(indexes),
        len(segments) // _SEGMENT.size,
        len(extents) // _EXTENT.size,
        HEADER_SIZE,
        at_segments,
        at_extents,
        n_bits,
        BLOCK,
        crc32c(body),
        bytes(12),
    )
    return seal(header) + body


def decode(raw: bytes, path: Path | str) -> BranchMap:
    """The map in `raw`; `path` is for messages. Raises as `read_map`."""
    header = read_header(raw, path)
    at_segments = HEADER_SIZE + header.n_layers * _LAYER.size
    at_extents = at_segments + header.n_segments * _SEGMENT.size
    check_crc(raw[HEADER_SIZE:], header.crc, "tables", path)
    layers = tuple((UUID(bytes=raw[at : at + 16]), *struct.unpack_from("<Q", raw, at + 16))
                   for at in range(HEADER_SIZE, at_segments, _LAYER.size))  # fmt: skip
    segments = tuple(
        MapSegment(SegmentKey(spc, db, rel, fork, seg), blocks, first, count, bit)
        for spc, db, rel, fork, seg, blocks, first, count, bit in rows(
            raw, at_segments, header.n_segments, _SEGMENT
        )
    )
    extents = tuple(map(MapExtent._make, rows(raw, at_extents, header.n_extents, _EXTENT)))
    found = BranchMap(header, layers, segments, extents)
    _check_segments(found, path)
    return found


def read_header(raw: bytes, path: Path | str) -> MapHeader:
    """The verified header; also that the tables fill the file. Their CRC is `decode`'s."""
    check_header(raw, HEADER_SIZE, MAGIC, VERSION, path)
    (_, _, _, tip, storage, size, n_layers, n_segments, n_extents, at_layers, at_segments, at_extents,
     n_bits, block, crc, _) = _HEADER.unpack_from(raw)  # fmt: skip
    ends = HEADER_SIZE + n_layers * _LAYER.size
    fits = at_layers == HEADER_SIZE and at_segments == ends
    ends += n_segments * _SEGMENT.size
    fits = fits and at_extents == ends
    ends += n_extents * _EXTENT.size
    if not fits or size != ends or block != BLOCK or len(raw) not in (size, HEADER_SIZE):
        raise damaged(path, f"Its size is {len(raw)} and its tables do not fill it.")
    return MapHeader(UUID(bytes=tip), UUID(bytes=storage), n_layers, n_segments, n_extents, n_bits, crc)


def _tables(stacked: Iterator[Stacked]) -> tuple[bytes, bytes, int]:
    segments: list[bytes] = []
    extents: list[MapExtent] = []
    bit = 0
    pack = _SEGMENT.pack
    for key, blocks, own in stacked:
        segments.append(pack(*key, blocks, len(extents), len(own), bit))
        extents += own
        bit += blocks + 7 & ~7
    pack_extent = _EXTENT.pack
    return b"".join(segments), b"".join([pack_extent(*extent) for extent in extents]), bit


def _check_segments(found: BranchMap, path: Path | str) -> None:
    before: Row = (-1,)
    taken = bit = 0
    for key, blocks, first, count, first_bit in found.segments:
        if key <= before or blocks > BLOCKS_PER_SEGMENT or first != taken or first_bit != bit:
            raise damaged(path, f"The entry of {tuple(key)} is not valid.")
        _check_extents(found, found.extents[first : first + count], blocks, key, path)
        before, taken, bit = key, taken + count, bit + (blocks + 7 & ~7)
    if taken != len(found.extents) or bit != found.header.n_bits:
        raise damaged(path, f"Its segments have {taken} extents and {bit} bits; its header says otherwise.")


def _check_extents(
    found: BranchMap, extents: Sequence[MapExtent], blocks: int, key: SegmentKey, path: Path | str
) -> None:
    covered = 0
    for block, count, layer, page in extents:
        in_layer = layer == ZERO_LAYER or (
            layer < len(found.layers) and page + count <= found.layers[layer][1]
        )
        if block != covered or not count or not in_layer:
            raise damaged(path, f'The extent of "{key.path()}" at block {block} is not valid.')
        covered += count
    if covered != blocks:
        raise damaged(path, f'The extents of "{key.path()}" cover {covered} of its {blocks} blocks.')
