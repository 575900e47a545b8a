"""The formats are pinned byte for byte: see tests/golden/README.md."""

from __future__ import annotations

import io

import pytest
import zstandard

from neon_compose.layer import branchmap, index, meta, overlay, verify
from neon_compose.layer.branchmap import Place
from neon_compose.layer.keys import SegmentKey
from tests.golden import make

MADE = make.files()
LAYERS = make.HERE / "layers"


@pytest.mark.parametrize("name", [name for name in MADE if not name.endswith(".zst")])
def test_what_we_write_is_the_golden_file(name: str) -> None:
    assert MADE[name] == (make.HERE / name).read_bytes()


@pytest.mark.parametrize("layer", [make.image(), make.delta()])
def test_a_golden_index_is_read_to_equality_and_written_again(layer: index.LayerIndex) -> None:
    path = LAYERS / f"{layer.layer_id}.index"
    assert index.read_index(path) == layer
    assert index.encode(index.read_index(path)) == path.read_bytes()


def test_the_golden_layers_pass_every_checksum() -> None:
    verify.check_layer(
        LAYERS / f"{make.IMAGE}.pages", LAYERS / f"{make.IMAGE}.index", LAYERS / f"{make.IMAGE}.meta.tar.zst"
    )
    verify.check_layer(LAYERS / f"{make.DELTA}.pages", LAYERS / f"{make.DELTA}.index")


def test_the_golden_map_says_what_the_readme_tells() -> None:
    found = branchmap.read_map(make.HERE / "two-layers.map")
    image, delta, zero = make.IMAGE, make.DELTA, Place(None, 0)
    told = {
        "base/5/1259": [Place(image, 0), Place(delta, 0), Place(image, 2), Place(delta, 1), zero],
        "base/5/1259_fsm": [zero],
        "base/5/2600": [Place(delta, 2), Place(delta, 3)],
        "base/5/16384": [Place(delta, 4)],
        "base/5/16385.1": [Place(image, 5), Place(image, 6)],
        "global/1262": [Place(image, 7)],
    }
    for path, places in told.items():
        key = SegmentKey.parse(path)
        assert key
        assert [found.locate(key, block) for block in range(len(places) + 1)] == [*places, None]
    big = SegmentKey(1663, 5, 16385, 0, 0)
    assert [found.locate(big, block) for block in (0, 99, 100, 101, 131071)] == [
        zero,
        zero,
        Place(delta, 5),
        zero,
        zero,
    ]
    assert [segment.first_bit for segment in found.segments] == [0, 8, 16, 24, 32, 131104, 131112]
    assert found.header.n_bits == 131120
    assert found.header.crc == 0xC0E7F952


def test_the_golden_overlay_has_no_block_of_its_own() -> None:
    found = overlay.read_overlay(make.HERE / "fresh.overlay")
    header = branchmap.read_map(make.HERE / "two-layers.map").header
    assert (found.branch_id, found.tip, found.map_crc) == (make.BRANCH, make.DELTA, header.crc)
    assert (found.n_segments, found.n_bits, found.own_blocks) == (7, 131120, 0)
    assert not any(found.flags)


def test_the_golden_archive_is_read_to_equality_and_its_tar_written_again() -> None:
    raw = (LAYERS / f"{make.IMAGE}.meta.tar.zst").read_bytes()
    assert meta.decode(raw, "golden") == make.meta_entries()
    # The zstd bytes may change with the library; what they hold may not.
    assert tar_of(make.meta_bytes()) == tar_of(raw)


def tar_of(raw: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
