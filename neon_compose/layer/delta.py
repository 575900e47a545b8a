"""Packing a delta: what a branch that stopped in recovery has of its own, over the tip it was laid out on.

Owns which segments and blocks go into a delta layer; the formats are index's, pages' and meta's, and the
order in which the files get their names is pack's. The branch's server must have ended by itself: then its
last write of pg_control came after every page was synced, so the overlay on disk has a bit for each.

Of a segment in the tip's map, by its local file and its flag in the overlay:
    no file                       dropped
    made anew (flag 2 is set)     dropped, and all blocks of the file are new
    else                          blocks whose bit is set, and those past the map's size, are new
An entry says the segment's size; one that has no new block and its old size gets none. A segment that is not
in the map is new as a whole. Of unlogged relations a delta keeps the init fork only: opening it is always
recovery, which makes the main fork from that.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neon_compose import durable
from neon_compose.errors import Conflict, Corrupt
from neon_compose.layer.branchmap import BranchMap, MapSegment
from neon_compose.layer.cluster import Contents, contents, size_of
from neon_compose.layer.index import Kind, LayerIndex, Segment, encode
from neon_compose.layer.keys import BLOCK, Fork, SegmentKey
from neon_compose.layer.meta import encode_files
from neon_compose.layer.overlay import Overlay
from neon_compose.layer.pack import LayerFiles, name_all
from neon_compose.layer.pages import PageWriter
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.wal import segments_between

MADE_ANEW = 2
_SHORT_WAL = 2  # segments
Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Stopped:
    """A branch whose server ended in recovery: its PGDATA, the map under it, its overlay, its pg_control."""

    pgdata: Path
    branch_map: BranchMap
    overlay: Overlay
    control_name: str  # relative to PGDATA

    def control(self) -> ControlFile:
        """Raises `Conflict` code "not_stopped" unless it says that recovery was shut down."""
        found = ControlFile.read(self.pgdata / self.control_name)
        if found.state is DbState.SHUT_DOWN_IN_RECOVERY:
            return found
        raise Conflict(
            f'"{self.pgdata}" was not shut down in recovery',
            detail=f"Its state is {found.state.words!r}.",
            code="not_stopped",
        )


def pack_delta(stopped: Stopped, dst_dir: Path, layer_id: UUID, consistent: Lsn) -> LayerFiles:
    """Pack what the branch has of its own into a new delta layer in the existing `dst_dir`.

    `consistent` is the end of the last record it replayed. Durable on return; a failure leaves nothing, a
    crash what `pack_image` may leave. Raises `Conflict` code "exists" if the layer is there.
    """
    _check_overlay(stopped)
    control = stopped.control()
    found = contents(stopped.pgdata, _own_wal(control, consistent))
    files = LayerFiles.of(dst_dir, layer_id)
    with ExitStack() as undo:
        pages = undo.enter_context(durable.aside(files.pages))
        meta = undo.enter_context(durable.aside(files.meta))
        index = undo.enter_context(durable.aside(files.index))
        writer = PageWriter(pages, lambda _: None)
        segments, dropped = _pack_segments(stopped, found, writer)
        made = LayerIndex(
            layer_id=layer_id,
            storage_id=stopped.branch_map.header.storage_id,
            redo=control.redo,
            consistent=consistent,
            kind=Kind.DELTA,
            timeline=control.timeline,
            pages=len(writer.page_crcs),
            content_hash=writer.content_hash,
            segments=tuple(segments),
            dropped=tuple(dropped),
            page_crcs=writer.page_crcs,
        )
        index.write(encode(made))
        with io.FileIO(meta.fd, "w", closefd=False) as raw:
            encode_files(stopped.pgdata, _names(stopped, found), raw)
        name_all((pages, meta, index))
    return files


def _own_wal(control: ControlFile, consistent: Lsn) -> list[str]:
    """The WAL from redo to the layer's end, by which its history is known, if that is short: it is kept in
    memory with the tip."""
    names = segments_between(control.timeline, control.redo, consistent, control.wal_segment_size)
    return names if len(names) <= _SHORT_WAL else []


def _check_overlay(stopped: Stopped) -> None:
    header = stopped.branch_map.header
    if (stopped.overlay.tip, stopped.overlay.map_crc) != (header.tip, header.crc):
        raise Corrupt(
            f'the overlay of "{stopped.pgdata}" is not over this map',
            detail=f"It is over {stopped.overlay.tip}, the map is that of {header.tip}.",
        )


def _names(stopped: Stopped, found: Contents) -> Iterator[tuple[str, str]]:
    """(name in the archive, name in PGDATA), by the first: pg_control has its own name there."""
    names = {name: name for name in [*found.folders, *found.files] if name != stopped.control_name}
    names["global/pg_control"] = stopped.control_name
    return iter(sorted(names.items()))


def _pack_segments(
    stopped: Stopped, found: Contents, writer: PageWriter
) -> tuple[list[Segment], list[SegmentKey]]:
    unlogged = {key.relation for key in found.segments if key.fork == Fork.INIT}
    kept = {
        key: path
        for key, path in found.segments.items()
        if key.fork == Fork.INIT or key.relation not in unlogged
    }
    below = {segment.key: (segment, flag) for segment, flag in _flagged(stopped)}
    dropped = sorted(key for key, (_, flag) in below.items() if key not in kept or flag & MADE_ANEW)
    segments = []
    for key, path in sorted(kept.items()):
        blocks = size_of(key, path) // BLOCK
        segment, flag = below.get(key, (None, MADE_ANEW))
        if segment is None or flag & MADE_ANEW:
            ranges: Ranges = [(0, blocks)] if blocks else []
        else:
            ranges = list(new_blocks(segment, blocks, stopped.overlay))
            if not ranges and blocks == segment.blocks:
                continue
        segments.append(Segment(key, blocks, writer.add_blocks(path, blocks, ranges)))
    return segments, dropped


def _flagged(stopped: Stopped) -> Iterable[tuple[MapSegment, int]]:
    return zip(stopped.branch_map.segments, stopped.overlay.flags, strict=True)


def new_blocks(segment: MapSegment, blocks: int, overlay: Overlay) -> Iterator[tuple[int, int]]:
    """(first, count) of the runs of blocks, of a local file of `blocks`, that are the branch's own."""
    mapped = min(blocks, segment.blocks)
    first = segment.first_bit // 8
    bits = overlay.bits[first : first + (mapped + 7) // 8]
    start = -1
    for block in range(mapped) if any(bits) else ():
        own = bits[block >> 3] >> (block & 7) & 1
        if own and start < 0:
            start = block
        elif not own and start >= 0:
            yield start, block - start
            start = -1
    if start < 0 and blocks > mapped:
        start = mapped
    if start >= 0:
        yield start, blocks - start
