"""Which pages of a relation differ between two branches that stopped: by where they are stored, without
reading them.

Owns what "the same page" is: the same page of the same layer, or two pages with one CRC-32C. Layers' pages
have that in their index, so only a branch's own pages are read. One in 2^32 pages that differ is taken for
the same.
"""

from __future__ import annotations

import operator
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from neon_compose.layer.branchmap import BranchMap
from neon_compose.layer.delta import MADE_ANEW, new_blocks
from neon_compose.layer.index import read_index
from neon_compose.layer.keys import BLOCK, DEFAULT_SPC, Fork, SegmentKey
from neon_compose.layer.overlay import Overlay
from neon_compose.layer.pack import LayerFiles
from neon_compose.layer.stacking import ZERO_LAYER, MapExtent, overlay
from neon_compose.layer.tables import crc32c

_OWN_LAYER = ZERO_LAYER - 1  # a number that no layer has: the branch's own file
_ZERO_CRC = crc32c(bytes(BLOCK))


class Relation(NamedTuple):
    """The main fork of a relation: base/<database>/<file>[.<segment>]."""

    database: int
    file: int


class Difference(NamedTuple):
    """In pages. Changed is what one of both has and the other has not, or not so."""

    before: int
    after: int
    changed: int


@dataclass(frozen=True)
class PageSums:
    """The page checksums of the layers in `folder`, read when first asked for."""

    folder: Path
    _known: dict[UUID, array[int]] = field(default_factory=dict)

    def of(self, layer: UUID) -> array[int]:
        """Raises `Corrupt`, or OSError."""
        if layer not in self._known:
            self._known[layer] = read_index(LayerFiles.of(self.folder, layer).index).page_crcs
        return self._known[layer]


@dataclass(frozen=True)
class Content:
    """A branch whose server ended cleanly: its overlay has a bit for every page that is its own."""

    pgdata: Path
    branch_map: BranchMap
    overlay: Overlay
    sums: PageSums

    def segments(self, relation: Relation) -> list[Segment]:
        found: list[Segment] = []
        for number in count():
            key = SegmentKey(DEFAULT_SPC, relation.database, relation.file, Fork.MAIN, number)
            path = self.pgdata / key.path()
            if not path.exists():
                return found
            blocks = path.stat().st_size // BLOCK
            found.append(Segment(self, path, blocks, self._extents(key, blocks)))
        raise AssertionError("a relation has an end")

    def _extents(self, key: SegmentKey, blocks: int) -> list[MapExtent]:
        """Where each of the blocks is."""
        number = self.branch_map.number(key)
        if number is None or self.overlay.flags[number] & MADE_ANEW:
            return [MapExtent(0, blocks, _OWN_LAYER, 0)] if blocks else []
        mapped = self.branch_map.segments[number]
        own = [MapExtent(*run, _OWN_LAYER, 0) for run in new_blocks(mapped, blocks, self.overlay)]
        return overlay(self.branch_map.extents_of(mapped), own, blocks)


@dataclass(frozen=True)
class Segment:
    content: Content
    path: Path
    blocks: int
    extents: Sequence[MapExtent]

    def layer(self, extent: MapExtent) -> UUID | None:
        """None: not a layer's."""
        if extent.layer in (ZERO_LAYER, _OWN_LAYER):
            return None
        return self.content.branch_map.layers[extent.layer][0]

    def sums(self, extent: MapExtent) -> array[int]:
        """The checksums of the pages of an extent."""
        if extent.layer == ZERO_LAYER:
            return array("I", [_ZERO_CRC]) * extent.length
        layer = self.layer(extent)
        if layer is not None:
            return self.content.sums.of(layer)[extent.page : extent.page + extent.length]
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            blocks = range(extent.block, extent.block + extent.length)
            return array("I", [crc32c(os.pread(fd, BLOCK, block * BLOCK)) for block in blocks])
        finally:
            os.close(fd)


def compare(
    before: Content, relation_before: Relation | None, after: Content, relation_after: Relation | None
) -> Difference:
    """None: it isn't there. Of a relation that is in another file by now all pages count as changed."""
    old = before.segments(relation_before) if relation_before else []
    new = after.segments(relation_after) if relation_after else []
    pages_before, pages_after = sum(one.blocks for one in old), sum(one.blocks for one in new)
    if relation_before != relation_after:
        return Difference(pages_before, pages_after, max(pages_before, pages_after))
    in_both = sum(_differing(*pair) for pair in zip(old, new, strict=False))
    in_one = sum(abs(a.blocks - b.blocks) for a, b in zip(old, new, strict=False))
    in_one += sum(one.blocks for one in (*old[len(new) :], *new[len(old) :]))
    return Difference(pages_before, pages_after, in_both + in_one)


def _differing(old: Segment, new: Segment) -> int:
    """How many of the pages that both have."""
    found = 0
    for ours, theirs in _side_by_side(old.extents, new.extents):
        if not _same_place(old, ours, new, theirs):
            sums, others = old.sums(ours), new.sums(theirs)
            if sums != others:
                found += sum(map(operator.ne, sums, others))
    return found


def _same_place(old: Segment, ours: MapExtent, new: Segment, theirs: MapExtent) -> bool:
    if ours.layer == theirs.layer == ZERO_LAYER:
        return True
    layer = old.layer(ours)
    return layer is not None and layer == new.layer(theirs) and ours.page == theirs.page


def _side_by_side(
    left: Sequence[MapExtent], right: Sequence[MapExtent]
) -> Iterator[tuple[MapExtent, MapExtent]]:
    """The parts of both that are about the same blocks; each covers its blocks from 0 on."""
    a, b = iter(left), iter(right)
    ours, theirs = next(a, None), next(b, None)
    while ours is not None and theirs is not None:
        length = min(ours.length, theirs.length)
        yield ours._replace(length=length), theirs._replace(length=length)
        ours = _rest(ours, length) or next(a, None)
        theirs = _rest(theirs, length) or next(b, None)


def _rest(extent: MapExtent, skipped: int) -> MapExtent | None:
    block, length, layer, page = extent
    if length == skipped:
        return None
    page = page if layer == ZERO_LAYER else page + skipped
    return MapExtent(block + skipped, length - skipped, layer, page)
