"""Packing a delta: what a stopped branch reads as is what the tip with the delta over it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Conflict, Corrupt
from neon_compose.layer import branchmap
from neon_compose.layer.branchmap import BranchMap, MapSegment
from neon_compose.layer.delta import MADE_ANEW, Stopped, new_blocks, pack_delta
from neon_compose.layer.index import Kind, LayerIndex
from neon_compose.layer.keys import BLOCK, SegmentKey
from neon_compose.layer.meta import read_tar_cached
from neon_compose.layer.overlay import Overlay
from neon_compose.layer.pack import LayerFiles, pack_image
from neon_compose.layer.verify import check_layer
from neon_compose.postgres.control import ControlFile, DbState
from tests.unit.layer.pgdata import END, REDO, make_pgdata, page, put

STORAGE, IMAGE, DELTA = UUID(int=9), UUID(int=1), UUID(int=2)
CONTROL = "global/pg_control.neon"
TOUCHED = 1
FILES = {
    "base/5/1": page(10) + page(11) + page(12),
    "base/5/2": page(20) + bytes(BLOCK) + page(22),
    "base/5/3": page(30),
    "base/5/4": page(40) + page(41),
    "base/5/5_init": page(50),
    "base/5/5": page(51),
    "global/6": b"",
}


class Branch:
    """A branch over one image layer: its content as files, what is its own as bits and flags."""

    def __init__(self, tmp_path: Path) -> None:
        self.layers = tmp_path / "layers"
        self.layers.mkdir()
        image = pack_image(make_pgdata(tmp_path / "image", FILES), self.layers, IMAGE, STORAGE, REDO, END)
        self.indexes: list[LayerIndex] = [check_layer(image.pages, image.index)]
        self.map: BranchMap = branchmap.decode(branchmap.encode(self.indexes, STORAGE), "map")
        self.bits = bytearray(self.map.header.n_bits // 8)
        self.flags = bytearray(len(self.map.segments))
        self.data = make_pgdata(tmp_path / "data", {})
        control = ControlFile.read(self.data / "global/pg_control").for_crash_recovery()
        (self.data / "global/pg_control").unlink()
        put(self.data, CONTROL, control.raw)
        for segment in self.map.segments:
            put(self.data, segment.key.path(), b"".join(self._hole() for _ in range(segment.blocks)))

    def _hole(self) -> bytes:
        return b"?" * BLOCK  # must never get into a layer

    def segment(self, path: str) -> tuple[int, MapSegment]:
        key = SegmentKey.parse(path)
        return next((n, one) for n, one in enumerate(self.map.segments) if one.key == key)

    def write(self, path: str, block: int, data: bytes) -> None:
        """A block of the branch's own, past the end too."""
        with (self.data / path).open("r+b") as file:
            file.seek(block * BLOCK)
            file.write(data)
        number, segment = self.segment(path)
        if block < segment.blocks:
            bit = segment.first_bit + block
            self.bits[bit // 8] |= 1 << bit % 8
        else:
            self.flags[number] |= TOUCHED

    def cut(self, path: str, blocks: int) -> None:
        number, segment = self.segment(path)
        with (self.data / path).open("r+b") as file:
            file.truncate(blocks * BLOCK)
        for bit in range(segment.first_bit + blocks, segment.first_bit + segment.blocks):
            self.bits[bit // 8] |= 1 << bit % 8
        self.flags[number] |= TOUCHED

    def stopped(self) -> Stopped:
        header = self.map.header
        overlay = Overlay(
            UUID(int=3),
            header.tip,
            header.crc,
            len(self.flags),
            header.n_bits,
            bytes(self.bits),
            bytes(self.flags),
        )
        return Stopped(self.data, self.map, overlay, CONTROL)

    def pack(self) -> dict[str, bytes]:
        """What the tip with the delta over it reads as, by path."""
        files = pack_delta(self.stopped(), self.layers, DELTA, END)
        self.delta = check_layer(files.pages, files.index, files.meta)
        return read(self.layers, [*self.indexes, self.delta])


def read(layers: Path, indexes: list[LayerIndex]) -> dict[str, bytes]:
    found = branchmap.decode(branchmap.encode(indexes, STORAGE), "map")
    pages = {one.layer_id: LayerFiles.of(layers, one.layer_id).pages.read_bytes() for one in indexes}
    content: dict[str, bytes] = {}
    for segment in found.segments:
        places = [found.locate(segment.key, block) for block in range(segment.blocks)]
        content[segment.key.path()] = b"".join(
            pages[at.layer][at.page * BLOCK : (at.page + 1) * BLOCK] if at and at.layer else bytes(BLOCK)
            for at in places
        )
    return content


LOGGED = {path: data for path, data in FILES.items() if path != "base/5/5"}  # what recovery needs


def test_a_branch_without_anything_of_its_own_is_an_empty_delta(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    (branch.data / "base/5/5").unlink()  # recovery removes the main fork of unlogged relations
    assert branch.pack() == LOGGED
    assert (branch.delta.kind, branch.delta.pages, branch.delta.segments) == (Kind.DELTA, 0, ())
    assert (branch.delta.redo, branch.delta.consistent) == (REDO, END)


def test_written_and_new_blocks_hide_the_tips_and_others_show_through(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    branch.write("base/5/1", 1, page(111))
    branch.write("base/5/2", 1, page(121))
    branch.write("base/5/2", 0, bytes(BLOCK))
    branch.write("base/5/3", 1, page(131))
    branch.write("global/6", 0, page(160))
    put(branch.data, "base/5/7.1", page(170) + bytes(BLOCK))
    assert branch.pack() == LOGGED | {
        "base/5/1": page(10) + page(111) + page(12),
        "base/5/2": bytes(BLOCK) + page(121) + page(22),
        "base/5/3": page(30) + page(131),
        "global/6": page(160),
        "base/5/7.1": page(170) + bytes(BLOCK),
    }
    assert branch.delta.pages == 5


def test_cut_segments_are_shorter_and_what_grew_again_shows_nothing_of_before(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    branch.cut("base/5/1", 1)
    branch.cut("base/5/2", 0)
    branch.cut("base/5/4", 1)
    branch.write("base/5/4", 1, bytes(BLOCK))
    assert branch.pack() == LOGGED | {
        "base/5/1": page(10),
        "base/5/2": b"",
        "base/5/4": page(40) + bytes(BLOCK),
    }


def test_dropped_segments_are_gone_and_one_made_anew_has_nothing_of_the_old(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    (branch.data / "base/5/3").unlink()
    number, _ = branch.segment("base/5/4")
    branch.flags[number] |= TOUCHED | MADE_ANEW
    put(branch.data, "base/5/4", bytes(BLOCK) + page(141))
    found = branch.pack()
    assert found == {path: data for path, data in LOGGED.items() if path != "base/5/3"} | {
        "base/5/4": bytes(BLOCK) + page(141)
    }
    assert [key.path() for key in branch.delta.dropped] == ["base/5/3", "base/5/4", "base/5/5"]


def test_an_unlogged_relation_keeps_its_init_fork_only(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    put(branch.data, "base/5/8_init", page(80))
    put(branch.data, "base/5/8", page(81))
    assert branch.pack() == LOGGED | {"base/5/8_init": page(80)}


def test_the_archive_has_pg_control_under_its_own_name(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    branch.pack()
    entries = {one.name: one.data for one in read_tar_cached(LayerFiles.of(branch.layers, DELTA).meta)}
    assert CONTROL not in entries
    assert ControlFile.parse(entries["global/pg_control"]).state is DbState.SHUT_DOWN_IN_RECOVERY
    assert [name for name in entries if name.startswith("pg_wal/0")] == ["pg_wal/000000010000000000000002"]


def test_a_branch_that_did_not_stop_in_recovery_is_refused(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    control = ControlFile.read(branch.data / CONTROL)
    (branch.data / CONTROL).write_bytes(control.patched(state=DbState.IN_ARCHIVE_RECOVERY).raw)
    with pytest.raises(Conflict) as caught:
        branch.pack()
    assert caught.value.code == "not_stopped"
    assert not list(branch.layers.glob(f"*{DELTA}*"))


def test_an_overlay_over_another_map_is_refused(tmp_path: Path) -> None:
    branch = Branch(tmp_path)
    stopped = branch.stopped()
    other = replace(stopped, overlay=replace(stopped.overlay, map_crc=1))
    with pytest.raises(Corrupt, match="not over this map"):
        pack_delta(other, branch.layers, DELTA, END)


@given(st.integers(0, 40), st.integers(0, 50), st.integers(0, 3), st.sets(st.integers(0, 49)))
def test_new_blocks_are_runs_of_set_bits_and_all_past_the_map(
    mapped: int, blocks: int, first_byte: int, own: set[int]
) -> None:
    bits = bytearray(16)
    for block in own:
        if block < mapped:
            bits[first_byte + block // 8] |= 1 << block % 8
    overlay = Overlay(UUID(int=1), IMAGE, 0, 1, 128, bytes(bits), b"\0")
    segment = MapSegment(SegmentKey(1663, 5, 1, 0, 0), mapped, 0, 0, first_byte * 8)
    runs = list(new_blocks(segment, blocks, overlay))
    wanted = [block for block in range(blocks) if block >= mapped or block in own]
    assert [block for first, count in runs for block in range(first, first + count)] == wanted
    assert all(a + n < b for (a, n), (b, _) in pairwise(runs))
