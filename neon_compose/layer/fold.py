"""Folding: a stack of layers becomes one image layer that shows the same pages and opens the same moments.

Owns which pages go in, from where. The order in which the files get their names is pack's. It has the meta
archive, the redo and the consistent LSN of the topmost layer: opened over it a branch replays what it would
have replayed over the stack. Every page is checked against its layer's index on the way: what is damaged
must not get a new checksum.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import google_crc32c

from neon_compose import durable
from neon_compose.layer.branchmap import BranchMap
from neon_compose.layer.index import Kind, LayerIndex, Segment, encode, read_index
from neon_compose.layer.keys import BLOCK
from neon_compose.layer.pack import LayerFiles, name_all
from neon_compose.layer.pages import READ_SIZE, PageWriter
from neon_compose.layer.stacking import ZERO_LAYER, MapExtent
from neon_compose.layer.tables import damaged

_READ_PAGES = READ_SIZE // BLOCK


def fold(branch_map: BranchMap, folder: Path, layer_id: UUID, watch: Callable[[], None]) -> LayerFiles:
    """Pack all that `branch_map` shows of the layers in `folder` as the image layer `layer_id` there.

    `watch` is called now and then; what it raises ends it. Durable on return; a failure leaves nothing, a
    crash what `pack_image` may leave. Raises `Corrupt` for a page that is not what its layer's index says.
    """
    files = LayerFiles.of(folder, layer_id)
    with ExitStack() as undo:
        sources = [_Source.opened(undo, folder, layer) for layer, _ in branch_map.layers]
        pages = undo.enter_context(durable.aside(files.pages))
        meta = undo.enter_context(durable.aside(files.meta))
        index = undo.enter_context(durable.aside(files.index))
        writer = PageWriter(pages, lambda _: watch())
        segments = tuple(
            Segment(one.key, one.blocks, writer.add_runs(_runs(branch_map.extents_of(one), sources)))
            for one in branch_map.segments
        )
        top = sources[-1].index
        index.write(encode(_image(top, layer_id, segments, writer)))
        meta.write(LayerFiles.of(folder, top.layer_id).meta.read_bytes())
        name_all((pages, meta, index))
    return files


def _image(top: LayerIndex, layer_id: UUID, segments: tuple[Segment, ...], writer: PageWriter) -> LayerIndex:
    return replace(
        top,
        layer_id=layer_id,
        kind=Kind.IMAGE,
        pages=len(writer.page_crcs),
        content_hash=writer.content_hash,
        segments=segments,
        dropped=(),
        page_crcs=writer.page_crcs,
    )


@dataclass(frozen=True)
class _Source:
    """A layer that is read from."""

    index: LayerIndex
    path: Path
    fd: int

    @classmethod
    def opened(cls, undo: ExitStack, folder: Path, layer: UUID) -> _Source:
        files = LayerFiles.of(folder, layer)
        index = read_index(files.index)
        fd = os.open(files.pages, os.O_RDONLY | os.O_CLOEXEC)
        undo.callback(os.close, fd)
        return cls(index, files.pages, fd)

    def read(self, first: int, count: int) -> bytes:
        data = os.pread(self.fd, count * BLOCK, first * BLOCK)
        if len(data) != count * BLOCK:
            raise damaged(self.path, f"It ends before page {first + count}.")
        for page in range(count):
            found = google_crc32c.value(data[page * BLOCK : (page + 1) * BLOCK])
            if found != self.index.page_crcs[first + page]:
                raise damaged(self.path, f"The checksum of page {first + page} is not what its index says.")
        return data


def _runs(extents: Sequence[MapExtent], sources: Sequence[_Source]) -> Iterator[bytes | int]:
    """The blocks of a segment: pages, or a number of zero ones."""
    for _, length, layer, page in extents:
        if layer == ZERO_LAYER:
            yield length
            continue
        for done in range(0, length, _READ_PAGES):
            yield sources[layer].read(page + done, min(_READ_PAGES, length - done))
