"""Ends of records by page headers alone, in segments whose records are known."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.nearby import boundary_before
from neon_compose.postgres.wal import PAGE, after_page_header, record_end
from neon_compose.postgres.walfolder import WalFolder

SEGMENT = 1 << 20
FIRST = 5  # the number of the segment


def written(folder: Path, lengths: list[int], begin: Lsn) -> tuple[WalFolder, list[Lsn]]:
    """A folder with records of these lengths from `begin` on, by their page headers; where each ends."""
    wal = WalFolder(folder, 1, SEGMENT)
    ends, at = [begin], begin
    rests: dict[int, int] = {}
    for length in lengths:
        end = record_end(at, length, SEGMENT)
        left, position = length, at.value
        while left > 0:
            position = after_page_header(Lsn(position), SEGMENT).value
            step = min(left, PAGE - position % PAGE)
            left, position = left - step, position + step
            if left:
                rests[position] = left
        ends.append(end)
        at = end
    for number in range(wal.number(begin), wal.number(at) + 1):
        data = bytearray(SEGMENT)
        for page in range(0, SEGMENT, PAGE):
            rest = rests.get(number * SEGMENT + page, 0)
            struct.pack_into("<HHIQI", data, page, 0xD116, 1 if rest else 0, 1, number * SEGMENT + page, rest)
        wal.complete(number).write_bytes(data)
    return wal, ends


LENGTHS = st.lists(
    st.one_of(st.integers(24, 200), st.integers(PAGE - 60, PAGE + 60), st.integers(24, 40 * PAGE)),
    min_size=1,
    max_size=60,
)


@given(LENGTHS, st.integers(0, 1 << 20), st.sampled_from([PAGE, 8 * PAGE, 64 * PAGE]))
def test_what_is_found_is_the_end_of_a_record_no_later_than_asked(
    lengths: list[int], offset: int, back: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        begin = after_page_header(Lsn(FIRST * SEGMENT), SEGMENT)
        wal, ends = written(Path(folder), lengths, begin)
        lsn = Lsn(min(begin.value + offset, ends[-1].value))
        if lsn == begin:
            return
        found = boundary_before(wal, lsn, back)
        # The end of a record and the page header behind it are one moment in two forms.
        known = {after_page_header(one, SEGMENT) for one in ends}
        if found is not None:
            assert after_page_header(found, SEGMENT) in known
            assert found <= lsn


def test_short_records_are_always_found(tmp_path: Path) -> None:
    wal, ends = written(tmp_path, [104] * 30_000, after_page_header(Lsn(FIRST * SEGMENT), SEGMENT))
    for lsn in ends[1000::997]:
        found = boundary_before(wal, lsn, 2 * PAGE)
        assert found is not None
        assert lsn.value - found.value <= 3 * PAGE


def test_a_record_over_all_of_it_has_no_end_there(tmp_path: Path) -> None:
    wal, ends = written(tmp_path, [104, 40 * PAGE, 104], after_page_header(Lsn(FIRST * SEGMENT), SEGMENT))
    assert boundary_before(wal, Lsn(ends[2].value - 5 * PAGE), 8 * PAGE) is None


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="is missing"):
        boundary_before(WalFolder(tmp_path, 1, SEGMENT), Lsn(FIRST * SEGMENT + 5))
