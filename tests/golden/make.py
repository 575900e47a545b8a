"""Makes the golden files of our formats; run it from the repository's root: python -m tests.golden.make

Everything in them is fixed (ids, LSNs, pages), so a run changes nothing unless a format changed. That is a
deliberate act: a format that storages out there hold gets a new version and new golden files beside the
old ones. README.md tells the content in words, for tests written in C.
"""

from __future__ import annotations

import io
import stat
import struct
from array import array
from pathlib import Path
from uuid import UUID

import google_crc32c
import xxhash

from neon_compose.layer import branchmap, index, meta, overlay
from neon_compose.layer.index import ZERO_PAGE, Extent, Kind, LayerIndex, Segment
from neon_compose.layer.keys import BLOCK, SegmentKey
from neon_compose.model.lsn import Lsn

HERE = Path(__file__).parent
STORAGE = UUID("01900000-0000-7000-8000-00000000000a")
IMAGE = UUID("01900000-0000-7000-8000-000000000001")
DELTA = UUID("01900000-0000-7000-8000-000000000002")
BRANCH = UUID("01900000-0000-7000-8000-00000000000b")


def page(layer: int, number: int) -> bytes:
    """A page of layer 1 (image) or 2 (delta): 1024 times the pair (layer, number), u32 little endian."""
    return struct.pack("<II", layer, number) * (BLOCK // 8)


def segment(path: str, blocks: int, *extents: tuple[int, int, int]) -> Segment:
    key = SegmentKey.parse(path)
    assert key is not None
    return Segment(key, blocks, tuple(Extent(*extent) for extent in extents))


def layer(kind: Kind, pages: list[bytes], segments: list[Segment], dropped: list[str]) -> LayerIndex:
    keys = [key for key in map(SegmentKey.parse, dropped) if key]
    return LayerIndex(
        layer_id=IMAGE if kind is Kind.IMAGE else DELTA,
        storage_id=STORAGE,
        redo=Lsn(0x1000028 * kind),
        consistent=Lsn(0x10000A0 * kind),
        kind=kind,
        timeline=1,
        pages=len(pages),
        content_hash=xxhash.xxh3_128_digest(b"".join(pages)),
        segments=tuple(sorted(segments)),
        dropped=tuple(sorted(keys)),
        page_crcs=array("I", map(google_crc32c.value, pages)),
    )


IMAGE_PAGES = [page(1, number) for number in range(9)]
DELTA_PAGES = [page(2, number) for number in range(6)]


def image() -> LayerIndex:
    segments = [
        segment("base/5/1259", 3, (0, 3, 0)),
        segment("base/5/1259_fsm", 2, (0, 1, ZERO_PAGE), (1, 1, 3)),
        segment("base/5/2600", 0),
        segment("base/5/16384", 1, (0, 1, 4)),
        segment("base/5/16385", 131072, (0, 131072, ZERO_PAGE)),
        segment("base/5/16385.1", 2, (0, 2, 5)),
        segment("base/5/16390_init", 1, (0, 1, ZERO_PAGE)),
        segment("global/1262", 1, (0, 1, 7)),
        segment("global/1262_vm", 1, (0, 1, 8)),
    ]
    return layer(Kind.IMAGE, IMAGE_PAGES, segments, [])


def delta() -> LayerIndex:
    segments = [
        segment("base/5/1259", 5, (1, 1, 0), (3, 1, 1), (4, 1, ZERO_PAGE)),
        segment("base/5/1259_fsm", 1),
        segment("base/5/2600", 2, (0, 2, 2)),
        segment("base/5/16384", 1, (0, 1, 4)),
        segment("base/5/16385", 131072, (100, 1, 5)),
    ]
    return layer(Kind.DELTA, DELTA_PAGES, segments, ["base/5/16384", "base/5/16390_init", "global/1262_vm"])


def meta_entries() -> list[meta.MetaEntry]:
    folder, file = stat.S_IFDIR | 0o700, stat.S_IFREG | 0o600
    return [
        meta.MetaEntry("PG_VERSION", file, b"17\n"),
        meta.MetaEntry("base", folder, b""),
        meta.MetaEntry("base/5", folder, b""),
        meta.MetaEntry("base/5/PG_VERSION", file, b"17\n"),
        meta.MetaEntry("global", folder, b""),
        meta.MetaEntry("global/pg_control", file, (HERE / "pg_control.17").read_bytes()),
        meta.MetaEntry("pg_wal", folder, b""),
    ]


def meta_bytes() -> bytes:
    raw = io.BytesIO()
    meta.encode(meta_entries(), raw)
    return raw.getvalue()


def files() -> dict[str, bytes]:
    """Path in this folder -> bytes."""
    two_layers = branchmap.encode([image(), delta()], STORAGE)
    header = branchmap.read_header(two_layers, "two-layers.map")
    fresh = overlay.encode_header(header, BRANCH)
    return {
        f"layers/{IMAGE}.pages": b"".join(IMAGE_PAGES),
        f"layers/{IMAGE}.index": index.encode(image()),
        f"layers/{IMAGE}.meta.tar.zst": meta_bytes(),
        f"layers/{DELTA}.pages": b"".join(DELTA_PAGES),
        f"layers/{DELTA}.index": index.encode(delta()),
        "two-layers.map": two_layers,
        "fresh.overlay": fresh + bytes(overlay.size(header) - len(fresh)),
    }


if __name__ == "__main__":
    for name, data in files().items():
        (HERE / name).write_bytes(data)
