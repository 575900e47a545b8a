from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neon_compose.errors import Conflict, Corrupt, Invalid, NeonError
from neon_compose.layer.branchmap import BranchMap, build_map, read_map
from neon_compose.layer.index import read_index
from neon_compose.layer.keys import BLOCK, SegmentKey
from neon_compose.layer.meta import extract, read_tar_cached
from neon_compose.layer.overlay import create_overlay, read_overlay
from neon_compose.layer.pack import LayerFiles, pack_image, read_clean_stop
from neon_compose.layer.verify import check_layer
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile, DbState
from tests.unit.layer.pgdata import END, REDO, WAL_FILE, make_pgdata, page, put

LAYER, STORAGE = UUID(int=1 << 100), UUID(int=2)
A, B, ZERO = page(0xA1), page(0xB2), bytes(BLOCK)


def pack(pgdata: Path, to: Path) -> LayerFiles:
    to.mkdir(exist_ok=True)
    return pack_image(pgdata, to, LAYER, STORAGE, REDO, END)


def mapped(files: LayerFiles) -> BranchMap:
    dst = files.index.with_suffix(".map")
    build_map([check_layer(files.pages, files.index, files.meta)], STORAGE, dst)
    return read_map(dst)


def read_back(branch_map: BranchMap, files: LayerFiles) -> dict[str, bytes]:
    """Every relation file, read as the shim would: block by block through the map."""
    pages = files.pages.read_bytes()
    contents = {}
    for segment in branch_map.segments:
        blocks = []
        for block in range(segment.blocks):
            place = branch_map.locate(segment.key, block)
            assert place is not None
            blocks.append(
                ZERO if place.layer is None else pages[place.page * BLOCK : (place.page + 1) * BLOCK]
            )
        contents[segment.key.path()] = b"".join(blocks)
    return contents


def packed(pgdata: Path, tmp_path: Path) -> dict[str, bytes]:
    files = pack(pgdata, tmp_path / "layers")
    return read_back(mapped(files), files)


names = st.builds(
    lambda folder, rel, fork, seg: f"{folder}/{rel}{fork}{seg}",
    st.sampled_from(["base/1", "base/5", "global"]),
    st.integers(1, 30),
    st.sampled_from(["", "_fsm", "_vm"]),
    st.sampled_from(["", ".1", ".12"]),
)
pages = st.sampled_from([ZERO, ZERO, A, B, bytes(BLOCK - 1) + b"\1", b"\1" + bytes(BLOCK - 1)])
trees = st.dictionaries(names, st.lists(pages, max_size=7).map(b"".join), max_size=12)


@given(trees)
@settings(deadline=None, max_examples=40)  # each writes and syncs a layer
def test_every_block_read_through_the_map_is_the_original(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pgdata = make_pgdata(Path(folder) / "data", files)
        layer = pack(pgdata, Path(folder) / "layers")
        branch_map = mapped(layer)
        assert read_back(branch_map, layer) == files
        assert layer.pages.stat().st_size == sum(
            sum(data[at : at + BLOCK] != ZERO for at in range(0, len(data), BLOCK)) * BLOCK
            for data in files.values()
        )


def test_big_files_with_holes_are_packed_without_their_zeros(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    path = pgdata / "base/5/16384"
    with path.open("wb") as file:
        file.truncate(131072 * BLOCK)
        for block in (0, 127, 128, 300, 131071):
            file.seek(block * BLOCK)
            file.write(page(block + 1))
    layer = pack(pgdata, tmp_path / "layers")
    index = read_index(layer.index)
    assert index.pages == 5
    branch_map = mapped(layer)
    stored = layer.pages.read_bytes()
    key = SegmentKey(1663, 5, 16384, 0, 0)
    for block in (0, 1, 126, 127, 128, 129, 299, 300, 301, 131070, 131071):
        place = branch_map.locate(key, block)
        assert place is not None
        expected = page(block + 1) if block in (0, 127, 128, 300, 131071) else None
        assert (None if place.layer is None else stored[place.page * BLOCK :][:BLOCK]) == expected


def test_zeros_that_are_written_out_are_left_out_too(tmp_path: Path) -> None:
    data = (A + ZERO * 200 + B) * 3
    pgdata = make_pgdata(tmp_path / "data", {"base/5/16384": data})
    layer = pack(pgdata, tmp_path / "layers")
    assert read_index(layer.index).pages == 6
    assert read_back(mapped(layer), layer)["base/5/16384"] == data


def test_neighbouring_blocks_make_one_extent_across_reads(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {"base/5/16384": A * 1000})
    index = read_index(pack(pgdata, tmp_path / "layers").index)
    assert [len(segment.extents) for segment in index.segments] == [1]


def test_packing_is_told_in_bytes_to_the_end(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {"base/5/1": A * 300, "base/5/2": ZERO * 5, "base/5/3": b""})
    told: list[tuple[int, int]] = []
    (tmp_path / "layers").mkdir()
    pack_image(pgdata, tmp_path / "layers", LAYER, STORAGE, REDO, END, lambda *step: told.append(step))
    assert told[-1] == (305 * BLOCK, 305 * BLOCK)
    assert told == sorted(told)


def test_equal_clusters_give_equal_layers(tmp_path: Path) -> None:
    files = {"base/5/1": A + B, "global/1262": B}
    first = pack(make_pgdata(tmp_path / "a", files), tmp_path / "la")
    second = pack(make_pgdata(tmp_path / "b", dict(reversed(files.items()))), tmp_path / "lb")
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_an_unlogged_relation_is_its_init_fork_and_nothing_else(tmp_path: Path) -> None:
    pgdata = make_pgdata(
        tmp_path / "data",
        {
            "base/5/16384": A * 4,
            "base/5/16384.1": A,
            "base/5/16384_fsm": A,
            "base/5/16384_vm": A,
            "base/5/16384_init": b"",
            "base/5/16390": A * 9,
            "base/5/16390_init": B + ZERO,
            "base/5/16400": A,
            "base/1/16384": B,
        },
    )
    assert packed(pgdata, tmp_path) == {
        "base/1/16384": B,
        "base/5/16384": b"",
        "base/5/16384_init": b"",
        "base/5/16390": B + ZERO,
        "base/5/16390_init": B + ZERO,
        "base/5/16400": A,
    }


def test_temporary_relations_and_caches_are_left_out(tmp_path: Path) -> None:
    extra = {
        "base/5/t3_16384": b"odd size",
        "base/5/pg_internal.init": A,
        "base/5/pg_internal.init.77": A,
        "global/pg_internal.init": A,
        "base/pgsql_tmp/pgsql_tmp1.0": A,
        "pg_replslot/mine/state": A,
        "pg_stat/pgstat.stat": A,
        "pg_stat_tmp/x": A,
        "pg_logical/snapshots/1.snap": A,
        "pg_wal/000000010000000000000001": A,
        "pg_wal/archive_status/x.done": b"",
        "postgresql.conf": A,
        "postgresql.auto.conf": A,
        "pg_hba.conf": A,
        "pg_ident.conf": A,
        "postmaster.opts": A,
        "server.key": A,
        "log/postgresql.log": A,
    }
    layer = pack(make_pgdata(tmp_path / "data", {"base/5/1": A, **extra}), tmp_path / "layers")
    assert {entry.name for entry in read_tar_cached(layer.meta)} == {
        *("PG_VERSION", "base", "base/5", "global", "global/pg_control", "pg_xact", "pg_xact/0000"),
        *("pg_wal", f"pg_wal/{WAL_FILE}", "pg_wal/archive_status", "pg_replslot", "pg_tblspc"),
        *("pg_logical", "pg_logical/snapshots", "pg_stat", "pg_stat_tmp"),
    }
    assert set(read_back(mapped(layer), layer)) == {"base/5/1"}


def test_what_is_kept_is_laid_out_as_it_was(tmp_path: Path) -> None:
    files = {"base/5/PG_VERSION": b"17\n", "base/5/pg_filenode.map": A, "pg_multixact/members/0000": B}
    pgdata = make_pgdata(tmp_path / "data", files)
    (pgdata / "pg_xact").chmod(0o750)
    layer = pack(pgdata, tmp_path / "layers")
    (tmp_path / "out").mkdir()
    extract(layer.meta, tmp_path / "out")
    for name in (*files, "PG_VERSION", "global/pg_control", f"pg_wal/{WAL_FILE}"):
        assert (tmp_path / "out" / name).read_bytes() == (pgdata / name).read_bytes()
        assert (tmp_path / "out" / name).stat().st_mode == stat.S_IFREG | 0o600
    assert stat.S_IMODE((tmp_path / "out/pg_xact").stat().st_mode) == 0o750
    assert (tmp_path / "out/pg_tblspc").is_dir()
    assert read_clean_stop(tmp_path / "out").end == END


def test_pg_wal_may_be_on_another_disk(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    (pgdata / "pg_wal").rename(tmp_path / "wal")
    (pgdata / "pg_wal").symlink_to(tmp_path / "wal")
    names = {entry.name: entry for entry in read_tar_cached(pack(pgdata, tmp_path / "layers").meta)}
    assert names["pg_wal"].is_folder
    assert f"pg_wal/{WAL_FILE}" in names


def refused(pgdata: Path, tmp_path: Path, kind: type[NeonError], code: str = "") -> NeonError:
    """That packing is refused and leaves nothing."""
    with pytest.raises(kind) as caught:
        pack(pgdata, tmp_path / "layers")
    assert code in ("", caught.value.code)
    assert list((tmp_path / "layers").iterdir()) == []
    return caught.value


@pytest.mark.parametrize("state", [state for state in DbState if state is not DbState.SHUT_DOWN])
def test_a_cluster_that_was_not_shut_down_is_refused(tmp_path: Path, state: DbState) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    control = ControlFile.read(pgdata / "global/pg_control")
    put(pgdata, "global/pg_control", control.patched(state=state).raw)
    assert state.words in refused(pgdata, tmp_path, Conflict, "not_shut_down").detail


@pytest.mark.parametrize("name", ["backup_label", "standby.signal", "recovery.signal", "postmaster.pid"])
def test_a_cluster_that_is_about_to_recover_or_runs_is_refused(tmp_path: Path, name: str) -> None:
    pgdata = make_pgdata(tmp_path / "data", {name: b""})
    assert name in refused(pgdata, tmp_path, Conflict, "not_shut_down").detail


def test_a_checkpoint_that_is_not_in_the_wal_is_refused(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    wal = pgdata / "pg_wal" / WAL_FILE
    with wal.open("r+b") as file:
        file.seek(REDO.value % (4 << 20) + 30)
        file.write(b"\xff")
    refused(pgdata, tmp_path, Corrupt)
    wal.unlink()
    assert WAL_FILE in refused(pgdata, tmp_path, Corrupt).detail


def test_a_damaged_control_file_is_refused(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    raw = bytearray((pgdata / "global/pg_control").read_bytes())
    raw[50] ^= 1
    put(pgdata, "global/pg_control", bytes(raw))
    assert "pg_control" in refused(pgdata, tmp_path, Corrupt).message


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    refused(tmp_path / "data", tmp_path, Invalid, "not_pgdata")
    refused(tmp_path / "absent", tmp_path, Invalid, "not_pgdata")


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_tablespace_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    space = pgdata / "pg_tblspc" / "16500"
    space.mkdir() if kind == "folder" else space.symlink_to(tmp_path)
    assert "16500" in refused(pgdata, tmp_path, Invalid, "tablespaces").detail


@pytest.mark.parametrize("size", [1, 8191, 8193])
def test_a_relation_file_that_is_not_whole_pages_is_refused(tmp_path: Path, size: int) -> None:
    pgdata = make_pgdata(tmp_path / "data", {"base/5/16384": bytes(size)})
    assert "base/5/16384" in refused(pgdata, tmp_path, Invalid, "torn_relation").message


def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {"base/5/1": A})
    (pgdata / "base/5/2").symlink_to(pgdata / "base/5/1")
    refused(pgdata, tmp_path, Invalid, "special_file")
    (pgdata / "base/5/2").unlink()
    os.mkfifo(pgdata / "base/5/2")
    refused(pgdata, tmp_path, Invalid, "special_file")


@pytest.mark.parametrize(
    ("redo", "end"), [(Lsn(1), END), (REDO, Lsn(1)), (REDO, Lsn(END.value + 8)), (END, END)]
)
def test_another_moment_than_the_shutdown_is_refused(tmp_path: Path, redo: Lsn, end: Lsn) -> None:
    pgdata = make_pgdata(tmp_path / "data", {})
    with pytest.raises(Invalid) as caught:
        pack_image(pgdata, tmp_path, LAYER, STORAGE, redo, end)
    assert caught.value.code == "wrong_moment"


def test_a_layer_never_changes(tmp_path: Path) -> None:
    layer = pack(make_pgdata(tmp_path / "a", {"base/5/1": A}), tmp_path / "layers")
    before = {path.name: path.read_bytes() for path in (tmp_path / "layers").iterdir()}
    with pytest.raises(Conflict) as caught:
        pack(make_pgdata(tmp_path / "b", {"base/5/1": B}), tmp_path / "layers")
    assert caught.value.code == "exists"
    assert {path.name: path.read_bytes() for path in layer.pages.parent.iterdir()} == before


def test_an_interrupted_pack_leaves_nothing(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {"base/5/1": A * 5})
    (tmp_path / "layers").mkdir()

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_image(pgdata, tmp_path / "layers", LAYER, STORAGE, REDO, END, interrupt)
    assert list((tmp_path / "layers").iterdir()) == []


def test_a_cluster_that_changes_while_it_is_packed_is_refused(tmp_path: Path) -> None:
    pgdata = make_pgdata(tmp_path / "data", {"base/5/1": A, "base/5/2": B})
    (tmp_path / "layers").mkdir()

    def grow(_done: int, _total: int) -> None:
        put(pgdata, "base/5/2", B + B)

    with pytest.raises(Conflict) as caught:
        pack_image(pgdata, tmp_path / "layers", LAYER, STORAGE, REDO, END, grow)
    assert caught.value.code == "changed"
    assert list((tmp_path / "layers").iterdir()) == []


def test_a_map_is_made_again_to_the_same_bytes_and_an_overlay_belongs_to_it(tmp_path: Path) -> None:
    layer = pack(make_pgdata(tmp_path / "data", {"base/5/1": A * 9, "base/5/2": B}), tmp_path / "layers")
    index, dst = read_index(layer.index), tmp_path / "tip.map"
    header = build_map([index], STORAGE, dst)
    before = dst.read_bytes()
    assert build_map([index], STORAGE, dst) == header
    assert dst.read_bytes() == before
    create_overlay(tmp_path / "overlay", header, UUID(int=3))
    found = read_overlay(tmp_path / "overlay")
    assert (found.branch_id, found.tip, found.map_crc, found.n_segments, found.n_bits) == (
        UUID(int=3),
        LAYER,
        read_map(dst).header.crc,
        2,
        24,
    )
    assert (tmp_path / "overlay").stat().st_blocks * 512 <= 8192


def test_an_overlay_tells_the_blocks_it_has(tmp_path: Path) -> None:
    layer = pack(make_pgdata(tmp_path / "data", {"base/5/1": A * 9, "base/5/2": B}), tmp_path / "layers")
    header = build_map([read_index(layer.index)], STORAGE, tmp_path / "tip.map")
    create_overlay(tmp_path / "overlay", header, UUID(int=3))
    with (tmp_path / "overlay").open("r+b") as file:
        file.seek(4096)
        file.write(b"\x01\x01\x01")
        file.seek(8192)
        file.write(b"\0\1")
    found = read_overlay(tmp_path / "overlay")
    assert found.own_blocks == 3
    assert [bit for bit in range(24) if found.has(bit)] == [0, 8, 16]
    assert found.flags == b"\0\1"
