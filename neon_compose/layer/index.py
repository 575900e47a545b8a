"""The index of a layer: which relation segments it has, which of their blocks, and every page's checksum.

Owns the format of <uuid>.index; does not read pages (verify does) or PGDATA (pack does).
Little endian, CRC = CRC-32C, block = 8192 bytes.

header, 128 bytes                                      segments, 32 bytes each, strictly ascending by key
   0  8  magic "NEONIDX1"                                 0 20  key: spc, db, rel, fork, seg (u32 each)
   8  4  version = 1                                     20  4  blocks, <= 131072: the segment's size
  12  4  header size = 128                               24  4  first extent
  16 16  layer id (RFC 4122 order)                       28  4  number of extents
  32 16  storage id                                    extents, 16 bytes each, ascending by block
  48  8  redo LSN: recovery starts there                  0  4  first block in the segment
  56  8  consistent LSN: the earliest moment to open      4  4  count > 0
  64  4  kind (1 image, 2 delta)                          8  4  first page in .pages (0xFFFFFFFF: all zeros)
  68  4  timeline                                        12  4  zero
  72  8  pages in .pages                               dropped, 20 bytes each, strictly ascending: keys gone
  80  4  number of segments                              since the layer below (delta only; a key may be
  84  4  number of dropped                               dropped and have a segment: it was made anew)
  88  8  number of extents                             page checksums, 4 bytes each: CRC of each page
  96 16  content hash: xxh3-128 of .pages
 112  4  block size = 8192                             The tables follow the header in this order without
 116  4  CRC of bytes [128, end)                       gaps. Segments take extents in order: the first extent
 120  4  zero                                          of one is the end of the one before. An image layer's
 124  4  CRC of bytes [0, 124)                         extents cover [0, blocks) and it drops nothing.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from neon_compose import durable
from neon_compose.layer.keys import BLOCK, BLOCKS_PER_SEGMENT, SegmentKey
from neon_compose.layer.tables import check_crc, check_header, crc32c, damaged, rows, seal
from neon_compose.model.lsn import Lsn

MAGIC = b"NEONIDX1"
VERSION = 1
HEADER_SIZE = 128
ZERO_PAGE = 0xFFFFFFFF

_HEADER = struct.Struct("<8sII16s16sQQIIQIIQ16sIII")
_SEGMENT = struct.Struct("<8I")
_EXTENT = struct.Struct("<4I")
_KEY = struct.Struct("<5I")


class Kind(IntEnum):
    IMAGE = 1
    DELTA = 2


class Extent(NamedTuple):
    """`length` blocks from `block` on; in .pages from `page` on, or zeros if that is ZERO_PAGE."""

    block: int
    length: int
    page: int


class Segment(NamedTuple):
    """A relation segment as of this layer's end."""

    key: SegmentKey
    blocks: int
    extents: tuple[Extent, ...]


@dataclass(frozen=True)
class LayerIndex:
    layer_id: UUID
    storage_id: UUID
    redo: Lsn
    consistent: Lsn
    kind: Kind
    timeline: int
    pages: int
    content_hash: bytes
    segments: tuple[Segment, ...]
    dropped: tuple[SegmentKey, ...]
    page_crcs: array[int]  # of u32, as many as pages; in file order on little-endian machines, our only kind

    @property
    def blocks(self) -> int:
        """The size of all segments, in blocks."""
        return sum(segment.blocks for segment in self.segments)


def read_index(path: Path) -> LayerIndex:
    """The index at `path`, verified. Raises `Corrupt`, `Conflict` (newer format) or OSError."""
    return decode(path.read_bytes(), path)


class Head(NamedTuple):
    """What the header alone says of a layer."""

    layer_id: UUID
    storage_id: UUID
    redo: Lsn
    consistent: Lsn
    kind: Kind
    pages: int


def read_head(path: Path) -> Head:
    """The head of the index at `path`, whose tables are not looked at. Raises as `read_index`."""
    with path.open("rb", buffering=0) as file:
        raw = file.read(HEADER_SIZE)
    check_header(raw, HEADER_SIZE, MAGIC, VERSION, path)
    (_, _, _, layer, storage, redo, consistent, kind, _, pages, *_) = _HEADER.unpack_from(raw)
    if kind not in (Kind.IMAGE, Kind.DELTA):
        raise damaged(path, f"It is of kind {kind}.")
    return Head(UUID(bytes=layer), UUID(bytes=storage), Lsn(redo), Lsn(consistent), Kind(kind), pages)


def write_index(index: LayerIndex, dst: Path) -> None:
    """Write `index` at `dst`, aside and renamed; durable on return."""
    durable.write_file(dst, encode(index))


def encode(index: LayerIndex) -> bytes:
    """The bytes of an index file."""
    body = b"".join((*_segment_tables(index), _keys(index.dropped), index.page_crcs.tobytes()))
    header = bytearray(HEADER_SIZE)
    _HEADER.pack_into(
        header,
        0,
        MAGIC,
        VERSION,
        HEADER_SIZE,
        index.layer_id.bytes,
        index.storage_id.bytes,
        index.redo.value,
        index.consistent.value,
        index.kind,
        index.timeline,
        index.pages,
        len(index.segments),
        len(index.dropped),
        sum(len(segment.extents) for segment in index.segments),
        index.content_hash,
        BLOCK,
        crc32c(body),
        0,
    )
    return seal(header) + body


def decode(raw: bytes, path: Path | str) -> LayerIndex:
    """The index in `raw`; `path` is for messages. Raises as `read_index`."""
    check_header(raw, HEADER_SIZE, MAGIC, VERSION, path)
    (_, _, _, layer, storage, redo, consistent, kind, timeline, pages, n_segments, n_dropped, n_extents,
     content_hash, block, crc, _) = _HEADER.unpack_from(raw)  # fmt: skip
    at_extents = HEADER_SIZE + n_segments * _SEGMENT.size
    at_dropped = at_extents + n_extents * _EXTENT.size
    at_crcs = at_dropped + n_dropped * _KEY.size
    if len(raw) != at_crcs + pages * 4 or block != BLOCK or kind not in (Kind.IMAGE, Kind.DELTA):
        raise damaged(
            path, f"Its size is {len(raw)}, block size {block}, kind {kind}; its header says otherwise."
        )
    check_crc(raw[HEADER_SIZE:], crc, "tables", path)
    index = LayerIndex(
        layer_id=UUID(bytes=layer),
        storage_id=UUID(bytes=storage),
        redo=Lsn(redo),
        consistent=Lsn(consistent),
        kind=Kind(kind),
        timeline=timeline,
        pages=pages,
        content_hash=content_hash,
        segments=_segments(raw, n_segments, at_extents, n_extents, path),
        dropped=tuple(map(SegmentKey._make, rows(raw, at_dropped, n_dropped, _KEY))),
        page_crcs=_crc_array(raw[at_crcs:]),
    )
    _check_tables(index, path)
    return index


def _segment_tables(index: LayerIndex) -> tuple[bytes, bytes]:
    segments = bytearray(len(index.segments) * _SEGMENT.size)
    extents: list[Extent] = []
    pack_into = _SEGMENT.pack_into
    for i, (key, blocks, own) in enumerate(index.segments):
        pack_into(segments, i * 32, *key, blocks, len(extents), len(own))
        extents += own
    pack = _EXTENT.pack
    return bytes(segments), b"".join([pack(*extent, 0) for extent in extents])


def _segments(
    raw: bytes, count: int, at_extents: int, n_extents: int, path: Path | str
) -> tuple[Segment, ...]:
    extents = [Extent(b, c, p) for b, c, p, _ in rows(raw, at_extents, n_extents, _EXTENT)]
    segments, taken = [], 0
    for spc, db, rel, fork, seg, blocks, first, own in rows(raw, HEADER_SIZE, count, _SEGMENT):
        key = SegmentKey(spc, db, rel, fork, seg)
        if first != taken or blocks > BLOCKS_PER_SEGMENT or fork > 3:
            raise damaged(path, f'The entry of "{key}" is not valid.')
        taken += own
        segments.append(Segment(key, blocks, tuple(extents[first:taken])))
    if taken != n_extents:
        raise damaged(path, f"Its segments have {taken} extents, its header says {n_extents}.")
    return tuple(segments)


def _check_tables(index: LayerIndex, path: Path | str) -> None:
    _check_ascending((segment.key for segment in index.segments), path)
    _check_ascending(index.dropped, path)
    if index.kind is Kind.IMAGE and index.dropped:
        raise damaged(path, "It is an image layer and drops segments.")
    for segment in index.segments:
        covered = 0
        for block, count, page in segment.extents:
            gap = block < covered if index.kind is Kind.DELTA else block != covered
            if gap or not count or (page != ZERO_PAGE and page + count > index.pages):
                raise damaged(path, f'The extent of "{segment.key.path()}" at block {block} is not valid.')
            covered = block + count
        if covered > segment.blocks or (index.kind is Kind.IMAGE and covered != segment.blocks):
            raise damaged(
                path, f'The extents of "{segment.key.path()}" do not fit its {segment.blocks} blocks.'
            )


def _check_ascending(keys: Iterable[SegmentKey], path: Path | str) -> None:
    before: tuple[int, ...] = (-1,)
    for key in keys:
        if key <= before:
            raise damaged(path, f'"{key.path()}" is out of order.')
        before = key


def _keys(keys: Iterable[SegmentKey]) -> bytes:
    flat = list(chain.from_iterable(keys))
    return struct.pack(f"<{len(flat)}I", *flat)


def _crc_array(raw: bytes) -> array[int]:
    crcs = array("I")
    crcs.frombytes(raw)
    return crcs
