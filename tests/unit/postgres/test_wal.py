from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c
import pytest

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import (
    PAGE,
    after_page_header,
    before_page_header,
    claimed_length,
    read_record,
    record_end,
    rest_of_record,
    segment_name,
    segments_between,
)

SEGMENT = 4 << 20
CHECKPOINT = Lsn(0xBDB4A8)
REAL_PAGE = Path(__file__).parents[2] / "golden" / "checkpoint_page.17"


def put(pg_wal: Path, lsn: int, data: bytes) -> None:
    """Write WAL bytes at `lsn`, into a file of full size."""
    path = pg_wal / segment_name(1, Lsn(lsn), SEGMENT)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(SEGMENT)
        file.seek(lsn % SEGMENT)
        file.write(data)


def record(body: bytes, rmgr: int = 0, info: int = 0) -> bytes:
    head = struct.pack("<IIQBBH", 24 + len(body), 0, 0, info, rmgr, 0)
    return head + struct.pack("<I", google_crc32c.extend(google_crc32c.value(body), head)) + body


@pytest.mark.parametrize(
    ("lsn", "size", "name"),
    [
        (0xBDB4A8, 4 << 20, "000000010000000000000002"),
        (0x1_00000000, 16 << 20, "000000010000000100000000"),
        (0x1_00000000 - 1, 16 << 20, "0000000100000000000000FF"),
        (0x5_FFFFFFFF, 1 << 30, "000000010000000500000003"),
    ],
)
def test_a_segment_is_named_as_postgres_does(lsn: int, size: int, name: str) -> None:
    assert segment_name(1, Lsn(lsn), size) == name


def test_the_segments_of_a_range_end_before_its_end() -> None:
    assert segments_between(1, Lsn(SEGMENT - 8), Lsn(SEGMENT), SEGMENT) == [segment_name(1, Lsn(0), SEGMENT)]
    assert len(segments_between(1, Lsn(SEGMENT - 8), Lsn(SEGMENT + 8), SEGMENT)) == 2


def test_a_real_shutdown_checkpoint_is_read(tmp_path: Path) -> None:
    put(tmp_path, CHECKPOINT.value // PAGE * PAGE, REAL_PAGE.read_bytes())
    found = read_record(tmp_path, 1, CHECKPOINT, SEGMENT)
    assert found.is_shutdown_checkpoint
    assert found.end == Lsn(0xBDB520)  # where pg_waldump says the next record would be


@pytest.mark.parametrize("at", [0, 8, 16, 20, 30, 113])
def test_a_flipped_byte_of_a_record_is_corrupt(tmp_path: Path, at: int) -> None:
    page = bytearray(REAL_PAGE.read_bytes())
    page[CHECKPOINT.value % PAGE + at] ^= 1
    put(tmp_path, CHECKPOINT.value // PAGE * PAGE, page)
    with pytest.raises(Corrupt):
        read_record(tmp_path, 1, CHECKPOINT, SEGMENT)


@pytest.mark.parametrize("before", [8, 24, 64])
@pytest.mark.parametrize("boundary", [PAGE, SEGMENT])
def test_a_record_across_a_page_or_segment_is_read_around_the_header(
    tmp_path: Path, before: int, boundary: int
) -> None:
    data, start = record(b"x" * 90), boundary - before
    header = 40 if boundary == SEGMENT else 24
    put(tmp_path, start, data[:before])
    put(tmp_path, boundary, b"h" * header + data[before:])
    assert read_record(tmp_path, 1, Lsn(start), SEGMENT).end == Lsn(
        boundary + header + (114 - before + 7 & ~7)
    )


def test_zeros_where_a_record_should_be_are_corrupt(tmp_path: Path) -> None:
    put(tmp_path, 0, b"\0")
    with pytest.raises(Corrupt, match="no WAL record at 0/28"):
        read_record(tmp_path, 1, Lsn(0x28), SEGMENT)


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    with pytest.raises(Corrupt) as caught:
        read_record(tmp_path, 1, CHECKPOINT, SEGMENT)
    assert "000000010000000000000002" in caught.value.detail


@pytest.mark.parametrize("start", [0x28, PAGE - 8, PAGE - 64, PAGE, SEGMENT - 8, SEGMENT - 400, SEGMENT])
@pytest.mark.parametrize("length", [24, 25, 90, 400, PAGE, 3 * PAGE, 40_000])
def test_the_end_of_a_record_is_told_from_its_length_as_by_reading_it(
    tmp_path: Path, start: int, length: int
) -> None:
    data, position = record(b"x" * (length - 24)), start
    begin = after_page_header(Lsn(start), SEGMENT)
    while data:
        position = after_page_header(Lsn(position), SEGMENT).value
        room = PAGE - position % PAGE
        put(tmp_path, position, data[:room])
        position, data = position + min(room, len(data)), data[room:]
    expected = read_record(tmp_path, 1, Lsn(start), SEGMENT).end
    assert record_end(Lsn(start), length, SEGMENT) == expected
    assert record_end(begin, length, SEGMENT) == expected


@pytest.mark.parametrize("page", [0, PAGE, SEGMENT - PAGE, SEGMENT, 3 * SEGMENT])
def test_a_page_s_first_record_and_its_begin_are_the_same_place(page: int) -> None:
    first = after_page_header(Lsn(page), SEGMENT)
    assert before_page_header(first, SEGMENT) == Lsn(page)
    for inside in (page + 8, first.value + 8, page + PAGE - 8):
        assert before_page_header(Lsn(inside), SEGMENT) == Lsn(inside)
        assert after_page_header(Lsn(inside), SEGMENT) == Lsn(inside)


def test_a_real_record_and_page_say_how_long_they_are() -> None:
    page = REAL_PAGE.read_bytes()
    assert claimed_length(page[CHECKPOINT.value % PAGE :][:4]) == 114
    assert claimed_length(bytes(4)) == 0
    assert rest_of_record(page[:24]) == struct.unpack_from("<I", page, 16)[0] * (page[2] & 1)
