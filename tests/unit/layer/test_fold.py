"""A folded stack reads as the stack does, whatever lies over what in it."""

from __future__ import annotations

import shutil
import tempfile
from array import array
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import google_crc32c
import pytest
import xxhash
from hypothesis import given

from neon_compose.errors import Corrupt
from neon_compose.layer import branchmap
from neon_compose.layer.branchmap import BranchMap
from neon_compose.layer.fold import fold
from neon_compose.layer.index import Kind, LayerIndex, write_index
from neon_compose.layer.keys import BLOCK
from neon_compose.layer.pack import LayerFiles
from neon_compose.layer.verify import check_layer
from tests.unit.layer.pgdata import page
from tests.unit.layer.test_delta import read
from tests.unit.layer.test_stacking import KEYS, STORAGE, Model, layer_of, stacks

FOLDED = UUID(int=1000)


def quiet() -> None:
    pass


def written(folder: Path, layers: list[LayerIndex]) -> list[LayerIndex]:
    """The layers with pages that are all different."""
    found = []
    for number, one in enumerate(layers):
        files = LayerFiles.of(folder, one.layer_id)
        pages = [page(number * 1000 + at + 1) for at in range(one.pages)]
        files.pages.write_bytes(b"".join(pages))
        files.meta.write_bytes(f"meta {number}".encode())
        crcs = array("I", [google_crc32c.value(data) for data in pages])
        content = xxhash.xxh3_128(b"".join(pages)).digest()
        found.append(replace(one, page_crcs=crcs, content_hash=content))
        write_index(found[-1], files.index)
    return found


def image_of(blocks: int) -> LayerIndex:
    return layer_of(0, Kind.IMAGE, {KEYS[0]: (blocks, dict.fromkeys(range(blocks), False))}, set())[0]


def map_of(layers: list[LayerIndex]) -> BranchMap:
    return branchmap.decode(branchmap.encode(layers, layers[0].storage_id), "map")


@given(stacks())
def test_a_folded_stack_reads_as_the_stack(drawn: tuple[list[LayerIndex], Model]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="neon-test-"))
    try:
        layers = written(folder, drawn[0])
        files = fold(map_of(layers), folder, FOLDED, quiet)
        image = check_layer(files.pages, files.index)
        assert image.kind is Kind.IMAGE
        assert (image.redo, image.consistent) == (layers[-1].redo, layers[-1].consistent)
        assert files.meta.read_bytes() == f"meta {len(layers) - 1}".encode()
        assert _read(folder, [image]) == _read(folder, layers)
    finally:
        shutil.rmtree(folder)


def _read(folder: Path, layers: list[LayerIndex]) -> dict[str, bytes]:
    mine = [replace(one, storage_id=UUID(int=9)) for one in layers]  # as test_delta has it
    return read(folder, mine)


def test_a_damaged_page_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    layers = written(
        tmp_path, [layer_of(0, Kind.IMAGE, {KEYS[0]: (3, dict.fromkeys(range(3), False))}, set())[0]]
    )
    pages = LayerFiles.of(tmp_path, layers[0].layer_id).pages
    before = sorted(tmp_path.iterdir())
    with pages.open("r+b") as file:
        file.seek(2 * BLOCK + 5)
        file.write(b"!")
    with pytest.raises(Corrupt) as caught:
        fold(map_of(layers), tmp_path, FOLDED, quiet)
    assert "page 2" in caught.value.detail
    assert sorted(tmp_path.iterdir()) == before
    assert layers[0].storage_id == STORAGE


def test_a_fold_that_is_called_off_leaves_nothing(tmp_path: Path) -> None:
    layers = written(tmp_path, [image_of(1)])
    before = sorted(tmp_path.iterdir())

    def watch() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        fold(map_of(layers), tmp_path, FOLDED, watch)
    assert sorted(tmp_path.iterdir()) == before
