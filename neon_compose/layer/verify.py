"""Checking a whole layer against its checksums; a mismatch is `Corrupt` and never retried into success."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import xxhash

from neon_compose.layer.index import LayerIndex, read_index
from neon_compose.layer.keys import BLOCK
from neon_compose.layer.meta import read_tar_cached
from neon_compose.layer.tables import damaged

_READ_PAGES = 128


def check_layer(pages: Path, index: Path, meta: Path | None = None) -> LayerIndex:
    """Verify every checksum of a layer: the index, each page, the content hash, the archive if given.

    Returns the index. Raises `Corrupt` naming the file, and the first page that differs with its block.
    """
    known = read_index(index)
    size = pages.stat().st_size
    if size != known.pages * BLOCK:
        raise damaged(pages, f"It has {size} bytes, by its index {known.pages * BLOCK}.")
    content = xxhash.xxh3_128()
    with pages.open("rb", buffering=0) as file:
        for first in range(0, known.pages, _READ_PAGES):
            data = file.read(min(_READ_PAGES, known.pages - first) * BLOCK)
            content.update(data)
            _check_pages(data, first, known, pages)
    if content.digest() != known.content_hash:
        raise damaged(pages, f"Its hash is {content.hexdigest()}, by its index {known.content_hash.hex()}.")
    if meta is not None:
        read_tar_cached(meta)
    return known


def _check_pages(data: bytes, first: int, known: LayerIndex, path: Path) -> None:
    crc, expected = google_crc32c.value, known.page_crcs
    for number, at in enumerate(range(0, len(data), BLOCK), first):
        found = crc(data[at : at + BLOCK])
        if found != expected[number]:
            raise damaged(
                path,
                f"The checksum of page {number} ({_owner(known, number)}) is {found:08x}, "
                f"by its index {expected[number]:08x}.",
            )


def _owner(known: LayerIndex, page: int) -> str:
    for segment in known.segments:
        for extent in segment.extents:
            if extent.page <= page < extent.page + extent.length:
                return f"block {extent.block + page - extent.page} of {segment.key.path()}"
    return "of no segment"
