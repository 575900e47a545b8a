"""Laying layers over each other: which layer's page a block of the tip is. Pure; no bytes, no I/O.

Rule, from bottom to top: a dropped segment is gone; a segment's entry then gives its size and the blocks
it has, which hide those below; a block it lacks shows through from below. A block that is in no layer at
all is an error, never zeros: a wrong guess here would be a silently empty page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from neon_compose.errors import Corrupt
from neon_compose.layer.index import ZERO_PAGE, Extent, Kind, LayerIndex
from neon_compose.layer.keys import SegmentKey

ZERO_LAYER = 0xFFFFFFFF


class MapExtent(NamedTuple):
    """`length` blocks from `block` on are pages of layer number `layer` from `page` on."""

    block: int
    length: int
    layer: int
    page: int


class Stacked(NamedTuple):
    key: SegmentKey
    blocks: int
    extents: list[MapExtent]


def stack(indexes: Sequence[LayerIndex], storage_id: UUID) -> Iterator[Stacked]:
    """The segments of the tip, ascending, with extents that cover [0, blocks).

    `indexes` from bottom to top, the first an image, the others deltas. Raises `Corrupt`.
    """
    _check_layers(indexes, storage_id)
    merged: dict[SegmentKey, Stacked] = {}
    for number, index in enumerate(indexes):
        for key in index.dropped:
            merged.pop(key, None)
        for key, blocks, own in index.segments:
            top = [_place(extent, number) for extent in own]
            if number:
                below = merged.get(key)
                top = overlay(below.extents if below else [], top, blocks)
                _check_covered(key, blocks, top, index)
            merged[key] = Stacked(key, blocks, top)
    # One layer's segments are in order already; sorting a sorted list is linear.
    return iter(sorted(merged.values()))


def overlay(below: Sequence[MapExtent], top: Sequence[MapExtent], blocks: int) -> list[MapExtent]:
    """`top` over `below`, cut at `blocks`; both ascending, the result too. What neither has is a gap."""
    merged: list[MapExtent] = []
    position, lower = 0, iter(below)
    rest = next(lower, None)
    for extent in (*top, MapExtent(blocks, 0, 0, 0)):
        while rest is not None and rest.block < extent.block:
            shown = _clip(rest, max(position, rest.block), extent.block)
            if shown.length > 0:
                merged.append(shown)
            if rest.block + rest.length > extent.block:
                break
            rest = next(lower, None)
        if extent.length:
            merged.append(extent)
        position = extent.block + extent.length
    return merged


def _clip(extent: MapExtent, start: int, end: int) -> MapExtent:
    """The part of `extent` in [start, end); a length <= 0 means there is none."""
    skipped = max(0, start - extent.block)
    count = min(end, extent.block + extent.length) - (extent.block + skipped)
    page = 0 if extent.layer == ZERO_LAYER else extent.page + skipped
    return MapExtent(extent.block + skipped, count, extent.layer, page)


def _place(extent: Extent, layer: int) -> MapExtent:
    block, count, page = extent
    return (
        MapExtent(block, count, ZERO_LAYER, 0) if page == ZERO_PAGE else MapExtent(block, count, layer, page)
    )


def _check_layers(indexes: Sequence[LayerIndex], storage_id: UUID) -> None:
    for position, index in enumerate(indexes):
        if index.storage_id != storage_id:
            raise Corrupt(
                f"layer {index.layer_id} belongs to another storage",
                detail=f"It says {index.storage_id}, this storage is {storage_id}.",
            )
        if position == 0 and index.kind is not Kind.IMAGE:
            raise Corrupt(f"layer {index.layer_id} is at the bottom and is not an image layer")
        if position and index.kind is Kind.IMAGE:  # what it lacks would show through from below
            raise Corrupt(f"layer {index.layer_id} is an image layer and not at the bottom")


def _check_covered(key: SegmentKey, blocks: int, extents: Sequence[MapExtent], index: LayerIndex) -> None:
    covered = 0
    for extent in extents:
        if extent.block != covered:
            break
        covered += extent.length
    if covered != blocks:
        raise Corrupt(
            f'block {covered} of "{key.path()}" is in no layer',
            detail=f"The topmost layer with this file is {index.layer_id}, which gives it {blocks} blocks.",
        )
