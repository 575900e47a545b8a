"""Every byte of index, map, overlay header and pages is covered by a checksum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Conflict, Corrupt
from neon_compose.layer import branchmap, index, meta, overlay, verify
from neon_compose.layer.tables import seal
from tests.golden import make

INDEX = make.HERE / "layers" / f"{make.IMAGE}.index"
DELTA = make.HERE / "layers" / f"{make.DELTA}.index"
MAP = make.HERE / "two-layers.map"
OVERLAY = make.HERE / "fresh.overlay"
META = make.HERE / "layers" / f"{make.IMAGE}.meta.tar.zst"

Read = Callable[[bytes, str], object]
FORMATS: list[tuple[Path, Read]] = [
    (INDEX, index.decode),
    (DELTA, index.decode),
    (MAP, branchmap.decode),
    (META, meta.decode),
]


@given(which=st.sampled_from(FORMATS), at=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused_and_the_file_named(which: tuple[Path, Read], at: int, bit: int) -> None:
    path, read = which
    raw = bytearray(path.read_bytes())
    at %= len(raw)
    raw[at] ^= 1 << bit
    if path == META and _harmless(bytes(raw)):
        return
    with pytest.raises(Corrupt) as caught:
        read(bytes(raw), "the file")
    assert "the file" in caught.value.message
    assert caught.value.detail


def _harmless(raw: bytes) -> bool:
    """A bit of zstd's frame that decodes to the same content anyway."""
    try:
        return meta.decode(raw, "") == make.meta_entries()
    except Corrupt:
        return False


@pytest.mark.parametrize(("path", "read"), FORMATS)
def test_any_cut_is_refused(path: Path, read: Read) -> None:
    raw = path.read_bytes()
    for size in {*range(0, len(raw), 7), len(raw) - 1}:
        with pytest.raises(Corrupt):
            read(raw[:size], "the file")


@pytest.mark.parametrize(("path", "read"), FORMATS)
def test_bytes_after_the_end_are_refused(path: Path, read: Read) -> None:
    with pytest.raises(Corrupt):
        read(path.read_bytes() + b"\0", "the file")


@pytest.mark.parametrize(("path", "read"), FORMATS[:3])
def test_a_newer_version_is_refused_as_such(path: Path, read: Read) -> None:
    raw = path.read_bytes()
    header = bytearray(raw[:128])
    header[8] = 2
    with pytest.raises(Conflict) as caught:
        read(seal(header) + raw[128:], "the file")
    assert caught.value.code == "newer_format"


@pytest.mark.parametrize("at", [0, 8, 12, 20, 40, 48, 52, 56, 64, 72, 80, 88, 4000, 4095])
def test_a_flipped_byte_of_an_overlays_header_is_refused(tmp_path: Path, at: int) -> None:
    raw = bytearray(OVERLAY.read_bytes())
    raw[at] ^= 1
    (tmp_path / "overlay").write_bytes(raw)
    with pytest.raises(Corrupt):
        overlay.read_overlay(tmp_path / "overlay")


def test_an_overlay_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "overlay").write_bytes(OVERLAY.read_bytes()[:-4096])
    with pytest.raises(Corrupt):
        overlay.read_overlay(tmp_path / "overlay")


def test_a_damaged_page_is_named_by_its_block(tmp_path: Path) -> None:
    raw = bytearray(b"".join(make.IMAGE_PAGES))
    raw[5 * 8192 + 77] ^= 1
    (tmp_path / "x.pages").write_bytes(raw)
    with pytest.raises(Corrupt) as caught:
        verify.check_layer(tmp_path / "x.pages", INDEX)
    assert "x.pages" in caught.value.message
    assert "page 5 (block 0 of base/5/16385.1)" in caught.value.detail


def test_a_pages_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pages").write_bytes(b"".join(make.IMAGE_PAGES[:-1]))
    with pytest.raises(Corrupt, match=r"x\.pages"):
        verify.check_layer(tmp_path / "x.pages", INDEX)


def test_pages_of_another_layer_with_equal_checksums_are_refused(tmp_path: Path) -> None:
    """The content hash is what tells a .pages file that another index describes."""
    (tmp_path / "x.pages").write_bytes(b"".join(make.IMAGE_PAGES))
    changed = index.read_index(INDEX)
    index.write_index(
        index.LayerIndex(**{**vars(changed), "content_hash": bytes(16)}),
        tmp_path / "x.index",
    )
    with pytest.raises(Corrupt, match=r"x\.pages"):
        verify.check_layer(tmp_path / "x.pages", tmp_path / "x.index")
