"""Cutting WAL: what comes along, and what is there instead of the rest."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.cut import Cut, copy_cut
from neon_compose.postgres.wal import PAGE, after_page_header, segment_name

SEGMENT = 1 << 20


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    """Segments 2 to 5, full of anything."""
    folder, rng = tmp_path / "wal", random.Random(1)
    folder.mkdir()
    for number in range(2, 6):
        (folder / name(number)).write_bytes(rng.randbytes(SEGMENT))
    return folder


def name(number: int) -> str:
    return segment_name(1, Lsn(number * SEGMENT), SEGMENT)


def cut(wal: Path, start: int, end: int) -> dict[str, bytes]:
    pg_wal = wal.with_name("pg_wal")
    pg_wal.mkdir()
    copy_cut(Cut(wal, Lsn(end)), pg_wal, 1, Lsn(start), SEGMENT)
    return {path.name: path.read_bytes() for path in pg_wal.iterdir()}


@pytest.mark.parametrize("offset", [1, 40, PAGE, SEGMENT - 8])
def test_the_last_segment_is_zero_behind_the_end(wal: Path, offset: int) -> None:
    found = cut(wal, 2 * SEGMENT + 100, 4 * SEGMENT + offset)
    assert sorted(found) == [name(2), name(3), name(4)]
    assert found[name(3)] == (wal / name(3)).read_bytes()
    assert found[name(4)] == (wal / name(4)).read_bytes()[:offset].ljust(SEGMENT, b"\0")


def test_an_end_at_a_segments_start_comes_with_that_segment_all_zero(wal: Path) -> None:
    found = cut(wal, 2 * SEGMENT, 6 * SEGMENT)
    assert sorted(found) == [name(n) for n in range(2, 7)]
    assert found[name(6)] == bytes(SEGMENT)


def test_start_and_end_in_one_segment_are_one_file(wal: Path) -> None:
    assert cut(wal, 3 * SEGMENT + 8, 3 * SEGMENT + 16) == {
        name(3): (wal / name(3)).read_bytes()[:16].ljust(SEGMENT, b"\0")
    }


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_missing_segment_is_corrupt_and_named(wal: Path, number: int) -> None:
    (wal / name(number)).unlink()
    with pytest.raises(Corrupt, match=name(number)):
        cut(wal, 2 * SEGMENT, 4 * SEGMENT + 8)


@pytest.mark.parametrize(("number", "size"), [(3, SEGMENT - 1), (4, 7), (4, 0)])
def test_a_segment_that_ends_too_early_is_corrupt_and_named(wal: Path, number: int, size: int) -> None:
    (wal / name(number)).write_bytes(bytes(size))
    with pytest.raises(Corrupt, match=name(number)):
        cut(wal, 2 * SEGMENT, 4 * SEGMENT + 8)


def test_a_last_segment_of_just_the_bytes_needed_is_enough(wal: Path) -> None:
    (wal / name(4)).write_bytes(b"12345678")
    assert cut(wal, 2 * SEGMENT, 4 * SEGMENT + 8)[name(4)] == b"12345678".ljust(SEGMENT, b"\0")


@pytest.mark.parametrize(
    ("end", "start"),
    [
        (PAGE + 24, PAGE + 24),
        (PAGE, PAGE + 24),
        (SEGMENT, SEGMENT + 40),
        (SEGMENT + PAGE - 8, SEGMENT + PAGE - 8),
    ],
)
def test_a_record_begins_behind_a_page_header(end: int, start: int) -> None:
    assert after_page_header(Lsn(end), SEGMENT) == Lsn(start)
