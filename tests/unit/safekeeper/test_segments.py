"""The folder of segments, against bytes that are all different."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.segments import Held, Segments

SIZE = 1 << 16
FIRST = 5  # the number of the first segment
_ALL = bytes(1 + (position // 7 + position // SIZE) % 255 for position in range((FIRST + 8) * SIZE))


def wal(start: int, end: int) -> bytes:
    """What is at these positions of the WAL: never zero, other bytes in each segment."""
    return _ALL[start:end]


def at(number: int, offset: int = 0) -> Lsn:
    return Lsn(number * SIZE + offset)


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[Segments]:
    with Segments.open(tmp_path / "wal", 1, SIZE) as made:
        yield made


def receive(segments: Segments, upto: Lsn) -> None:
    """Write as pg_receivewal does: from the start of the last segment on, or from the next."""
    folder = segments.folder
    present = folder.files()
    number = max(present)
    number += present[number] == folder.complete(number)
    while folder.begin(number) <= upto:
        path = folder.partial(number)
        if not path.exists():
            path.write_bytes(bytes(SIZE))
        begin = folder.begin(number).value
        with path.open("r+b") as file:
            file.write(wal(begin, min(upto.value, begin + SIZE)))
        if upto.value < begin + SIZE:
            break
        path.rename(folder.complete(number))
        number += 1


def names(segments: Segments) -> list[str]:
    return sorted(path.name[22:] for path in segments.folder.path.iterdir() if len(path.name) >= 24)


def seeded(segments: Segments, offset: int = 100) -> Segments:
    segments.seed(at(FIRST, offset), wal(FIRST * SIZE, FIRST * SIZE + offset))
    return segments


def filled(segments: Segments, upto: Lsn | None = None) -> Segments:
    receive(seeded(segments), upto or at(FIRST + 3, 500))
    return segments


# ---- seeding


@pytest.mark.parametrize("offset", [0, 1, 100, SIZE - 1])
def test_a_seeded_folder_has_one_partial_segment_with_zeros_after_the_start(
    segments: Segments, offset: int
) -> None:
    seeded(segments, offset)
    assert names(segments) == ["05.partial"]
    data = segments.folder.partial(FIRST).read_bytes()
    assert data == wal(FIRST * SIZE, FIRST * SIZE + offset).ljust(SIZE, b"\0")
    assert segments.held() == Held(at(FIRST), at(FIRST), at(FIRST + 1))


def test_seeding_again_changes_nothing(segments: Segments) -> None:
    inode = seeded(segments).folder.partial(FIRST).stat().st_ino
    assert seeded(segments).folder.partial(FIRST).stat().st_ino == inode


def test_seeding_over_received_wal_is_refused(segments: Segments) -> None:
    receive(seeded(segments), at(FIRST, 200))
    before = segments.folder.read(FIRST)
    with pytest.raises(Conflict, match="holds WAL already"):
        seeded(segments)
    assert segments.folder.read(FIRST) == before


def test_a_seed_of_another_length_than_its_start_says_is_refused(segments: Segments) -> None:
    with pytest.raises(Invalid):
        segments.seed(at(FIRST, 100), b"x" * 99)
    assert segments.held() is None


# ---- adoption


@pytest.mark.parametrize("number", [FIRST, FIRST + 1, FIRST + 2, FIRST + 3])
@pytest.mark.parametrize("offset", [0, 8, 499, SIZE - 8])
@pytest.mark.parametrize("end", [at(FIRST + 3, 500), at(FIRST + 4), at(FIRST + 3, SIZE - 8)])
def test_an_adopted_folder_has_zeros_only_after_the_start(
    segments: Segments, number: int, offset: int, end: Lsn
) -> None:
    filled(segments, end)
    start = at(number, offset)
    if number == FIRST and offset == 0:
        start = at(FIRST, 8)
    segments.adopt(start)
    expected = wal(FIRST * SIZE, min(start.value, end.value)).ljust((number + 1 - FIRST) * SIZE, b"\0")
    assert b"".join(segments.folder.read(n) for n in range(FIRST, number + 1)) == expected
    assert segments.held() == Held(at(FIRST), at(number), at(number + 1))
    assert names(segments)[-1] == f"{number:02X}.partial"


def test_a_start_right_after_the_last_complete_segment_is_adopted(segments: Segments) -> None:
    filled(segments, at(FIRST + 2))
    segments.folder.partial(FIRST + 2).unlink(missing_ok=True)
    segments.adopt(at(FIRST + 2))
    assert segments.held() == Held(at(FIRST), at(FIRST + 2), at(FIRST + 3))
    assert segments.folder.read(FIRST + 2) == bytes(SIZE)


def test_a_full_partial_segment_before_the_start_is_complete_afterwards(segments: Segments) -> None:
    """The receiver died between writing its last byte and renaming it."""
    filled(segments, at(FIRST + 1))
    segments.folder.partial(FIRST + 1).unlink(missing_ok=True)
    segments.folder.complete(FIRST).rename(segments.folder.partial(FIRST))
    segments.adopt(at(FIRST + 1))
    assert names(segments) == ["05", "06.partial"]


@pytest.mark.parametrize("start", [at(FIRST + 4, 8), at(FIRST + 5), at(FIRST - 1, 8)])
def test_a_start_that_the_folder_does_not_reach_is_refused_and_nothing_changed(
    segments: Segments, start: Lsn
) -> None:
    before = names(filled(segments))
    with pytest.raises(Conflict, match="no WAL up to"):
        segments.adopt(start)
    assert names(segments) == before


def test_a_receiver_goes_on_from_an_adopted_start(segments: Segments) -> None:
    filled(segments)
    segments.adopt(at(FIRST + 1, 300))
    receive(segments, at(FIRST + 2, 10))
    got = b"".join(data for _, data in segments.read(at(FIRST), at(FIRST + 2, 10)))
    assert got == wal(FIRST * SIZE, at(FIRST + 2, 10).value).ljust(3 * SIZE, b"\0")


# ---- copying from others


@pytest.mark.parametrize("count", [0, 1, 400, SIZE - 500, SIZE - 499, 2 * SIZE, 3 * SIZE - 500])
def test_what_a_peer_has_more_is_appended(segments: Segments, count: int) -> None:
    end = at(FIRST + 3, 500)
    filled(segments).extend(end, wal(end.value, end.value + count))
    last = Lsn(end.value + count)
    got = b"".join(data for _, data in segments.read(at(FIRST), last))
    assert got[: last.value - at(FIRST).value] == wal(at(FIRST).value, last.value)
    held = segments.held()
    assert held is not None
    assert held.whole == at(last.value // SIZE)


def test_appending_drops_what_was_there_after_it(segments: Segments) -> None:
    filled(segments).extend(at(FIRST + 3, 100), b"x")
    assert segments.folder.read(FIRST + 3) == (
        wal(at(FIRST + 3).value, at(FIRST + 3, 100).value) + b"x"
    ).ljust(SIZE, b"\0")


@pytest.mark.parametrize("end", [at(FIRST + 1, 8), at(FIRST + 4, 8), at(FIRST + 5)])
def test_appending_elsewhere_than_in_the_last_segment_is_refused(segments: Segments, end: Lsn) -> None:
    with pytest.raises(Conflict, match="does not end at"):
        filled(segments).extend(end, b"x")


def test_a_segment_is_replaced_whole(segments: Segments) -> None:
    path = filled(segments).folder.complete(FIRST + 1)
    good = path.read_bytes()
    path.unlink()
    with pytest.raises(Corrupt, match=r'06" is missing'):
        segments.held()
    segments.replace(FIRST + 1, good)
    assert segments.held() == Held(at(FIRST), at(FIRST + 3), at(FIRST + 4))
    for number in (FIRST + 3, FIRST + 4):
        with pytest.raises(Conflict):
            segments.replace(number, good)


# ---- reading and trimming


@pytest.mark.parametrize("start", [at(FIRST), at(FIRST, 77), at(FIRST + 2)])
@pytest.mark.parametrize("end", [at(FIRST + 2, 1), at(FIRST + 3), at(FIRST + 3, 8)])
def test_a_range_is_read_as_whole_segments_with_zeros_after_its_end(
    segments: Segments, start: Lsn, end: Lsn
) -> None:
    got = dict(filled(segments).read(start, end))
    first = start.value // SIZE
    count = -(-end.value // SIZE) - first
    assert list(got) == [segments.folder.name(first + n) for n in range(count)]
    assert b"".join(got.values()) == wal(first * SIZE, end.value).ljust(count * SIZE, b"\0")


def test_reading_what_is_not_there_names_the_segment(segments: Segments) -> None:
    with pytest.raises(Corrupt, match=r'04" is missing'):
        list(filled(segments).read(at(FIRST - 1), at(FIRST + 1)))
    with pytest.raises(Corrupt, match=r'09" is missing'):
        list(segments.read(at(FIRST), at(FIRST + 5)))


def test_trimming_removes_whole_segments_before_an_lsn_and_never_the_last(segments: Segments) -> None:
    filled(segments)
    assert segments.trim(at(FIRST)) == []
    assert [name[22:] for name in segments.trim(at(FIRST + 2, SIZE - 1))] == ["05", "06"]
    assert segments.held() == Held(at(FIRST + 2), at(FIRST + 3), at(FIRST + 4))
    assert [name[22:] for name in segments.trim(at(FIRST + 9))] == ["07"]
    assert names(segments) == ["08.partial"]


# ---- damage, and what a dead receiver leaves


@pytest.mark.parametrize("size", [0, 1, SIZE - 1])
def test_a_segment_that_was_being_made_is_filled_up(segments: Segments, size: int) -> None:
    filled(segments, at(FIRST + 2))
    segments.folder.partial(FIRST + 2).write_bytes(bytes(size))
    assert segments.held() == Held(at(FIRST), at(FIRST + 2), at(FIRST + 2))
    segments.close()
    segments.lock = Segments.open(segments.folder.path, 1, SIZE).lock
    assert segments.held() == Held(at(FIRST), at(FIRST + 2), at(FIRST + 3))
    assert segments.folder.partial(FIRST + 2).read_bytes() == bytes(SIZE)
    assert segments.folder.partial(FIRST + 2).stat().st_blocks * 512 >= SIZE


def test_what_a_dead_receiver_wrote_is_written_anew_and_not_just_synced(segments: Segments) -> None:
    """A sync of its own may have failed, and then ours succeeds with nothing on disk."""
    path = filled(segments).folder.partial(FIRST + 3)
    before, data = path.stat().st_ino, path.read_bytes()
    with path.open("rb"):  # so that the number isn't given again
        segments.settle()
        assert path.stat().st_ino != before
    assert path.read_bytes() == data


@pytest.mark.parametrize("partial", [False, True])
def test_a_segment_that_was_cut_short_is_an_error_naming_it(segments: Segments, partial: bool) -> None:
    number = FIRST + 3 if partial else FIRST + 1
    path = filled(segments).folder.files()[number]
    path.write_bytes(path.read_bytes()[: SIZE // 2])
    for attempt in (segments.held, segments.settle, lambda: segments.adopt(at(FIRST, 8))):
        with pytest.raises(Corrupt, match=path.name):
            attempt()


def test_a_segment_of_another_timeline_is_an_error_naming_it(segments: Segments) -> None:
    (filled(segments).folder.path / "000000020000000000000009").write_bytes(bytes(SIZE))
    with pytest.raises(Corrupt, match="000000020000000000000009"):
        segments.settle()


def test_a_segment_with_two_names_is_an_error(segments: Segments) -> None:
    folder = filled(segments).folder
    folder.partial(FIRST + 2).write_bytes(bytes(SIZE))
    with pytest.raises(Corrupt, match="twice"):
        segments.settle()


def test_a_partial_segment_before_others_is_an_error(segments: Segments) -> None:
    folder = filled(segments).folder
    folder.complete(FIRST + 1).rename(folder.partial(FIRST + 1))
    with pytest.raises(Corrupt, match="not complete"):
        segments.settle()


def test_what_a_dead_writer_left_aside_is_swept(segments: Segments) -> None:
    left = segments.folder.path / ".000000010000000000000005.partial.abc.aside"
    left.write_bytes(b"x")
    segments.settle()
    assert not left.exists()


def test_nobody_opens_a_folder_that_another_process_holds(segments: Segments) -> None:
    """Also when that is a receiver, to which the descriptor was passed, and its supervisor is gone."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[segments.lock]
    ) as receiver:
        segments.close()
        with pytest.raises(Conflict, match="in use"):
            Segments.open(segments.folder.path, 1, SIZE)
        receiver.kill()
    segments.lock = Segments.open(segments.folder.path, 1, SIZE).lock
