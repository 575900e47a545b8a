"""The archive of WAL: what goes in comes out, damaged or foreign objects don't."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neon_compose import wait
from neon_compose.errors import Corrupt, Unavailable
from neon_compose.layer.history import Aged
from neon_compose.layer.index import Kind
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.archive import Archive, writer_of
from neon_compose.pageserver.unneeded import needed_wal
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.terms.history import History, TermStart
from neon_compose.terms.register import Decided, Register, new_register

SIZE = 1 << 20


def manifest(*starts: tuple[int, int]) -> Manifest:
    history = History(tuple(TermStart(term, Lsn(start)) for term, start in starts))
    empty = new_register(1)
    register = Register(empty.seats, empty.claimed, Decided(history, empty.seats))
    return Manifest(new_id(), "one", None, (new_id(),), wait.now(), register=register)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "storage").mkdir()
    return LocalStore(tmp_path / "storage")


@pytest.fixture
def archive(store: LocalStore, tmp_path: Path) -> Archive:
    (tmp_path / "aside").mkdir()
    return Archive(store, tmp_path / "aside")


@pytest.fixture
def wal(tmp_path: Path) -> WalFolder:
    """Three segments, from the second on."""
    folder = WalFolder(tmp_path / "wal", 1, SIZE)
    folder.path.mkdir()
    for number in (1, 2, 3):
        folder.complete(number).write_bytes(os.urandom(SIZE))
    return folder


def bytes_of(archive: Archive, one: Manifest, start: int, end: int) -> bytes:
    return b"".join(archive.read(one, SIZE, Lsn(start), Lsn(end)))


def test_what_was_archived_is_read_also_by_the_next_pageserver(
    archive: Archive, store: LocalStore, wal: WalFolder, tmp_path: Path
) -> None:
    one = manifest((1, SIZE + 100))
    assert archive.upto(one, SIZE) is None
    archive.put(one, wal, 1, Lsn(2 * SIZE))
    archive.put(one, wal, 2, Lsn(2 * SIZE + 500))
    assert list((tmp_path / "aside").iterdir()) == []
    written = wal.complete(1).read_bytes() + wal.complete(2).read_bytes()
    for seen in (archive, Archive(store, tmp_path / "aside")):
        assert seen.upto(one, SIZE) == Lsn(2 * SIZE + 500)
        assert bytes_of(seen, one, SIZE + 200, 2 * SIZE + 500) == written[200 : SIZE + 500]
        with pytest.raises(Unavailable):
            bytes_of(seen, one, SIZE + 200, 2 * SIZE + 501)


def test_more_of_a_segment_takes_the_place_of_less(
    archive: Archive, store: LocalStore, wal: WalFolder
) -> None:
    one = manifest((1, SIZE))
    for end in (SIZE + 10, SIZE + 20, 2 * SIZE, 2 * SIZE):  # the last one is repeated
        archive.put(one, wal, 1, Lsn(end))
        assert len(list(store.list("wal/"))) == 1
        assert archive.upto(one, SIZE) == Lsn(end)
    assert bytes_of(archive, one, SIZE, 2 * SIZE) == wal.complete(1).read_bytes()


def test_an_object_of_a_term_that_was_not_decided_is_none_of_the_branchs_wal(
    archive: Archive, wal: WalFolder
) -> None:
    one = manifest((1, SIZE), (3, SIZE + 50))
    stray = manifest((1, SIZE), (2, SIZE + 50))
    stray = Manifest(one.branch_id, "one", None, one.layers, one.created, register=stray.register)
    archive.put(stray, wal, 1, Lsn(SIZE + 90))
    assert archive.upto(stray, SIZE) == Lsn(SIZE + 90)
    assert archive.upto(one, SIZE) is None


@pytest.mark.parametrize("harm", ["flip", "cut", "swap", "remove"])
def test_damage_is_never_taken_for_wal(
    archive: Archive, store: LocalStore, wal: WalFolder, harm: str
) -> None:
    one = manifest((1, SIZE))
    archive.put(one, wal, 1, Lsn(2 * SIZE))
    archive.put(one, wal, 2, Lsn(2 * SIZE + 100))
    first, second = (store.local_path(key) for key in store.list("wal/"))
    raw = bytearray(first.read_bytes())
    raw[len(raw) // 2] ^= 1
    {
        "flip": lambda: first.write_bytes(raw),
        "cut": lambda: first.write_bytes(raw[:-4]),
        "swap": lambda: first.write_bytes(second.read_bytes()),
        "remove": first.unlink,
    }[harm]()
    with pytest.raises((Corrupt, Unavailable)) as caught:
        bytes_of(archive, one, SIZE, 2 * SIZE)
    assert "000000010000000000000001" in caught.value.message


def test_the_writer_of_a_byte_is_the_last_term_that_began_before_it() -> None:
    history = History((TermStart(1, Lsn(100)), TermStart(4, Lsn(200))))
    assert [writer_of(history, Lsn(end)) for end in (100, 101, 200, 201)] == [0, 1, 1, 4]


def test_a_gone_branch_leaves_nothing(archive: Archive, wal: WalFolder) -> None:
    one, other = manifest((1, SIZE)), manifest((1, SIZE))
    for each in (one, other):
        archive.put(each, wal, 1, Lsn(2 * SIZE))
    archive.drop(one.branch_id)
    assert archive.branches() == {other.branch_id}
    assert archive.upto(one, SIZE) is None


def test_pinned_moments_and_the_window_need_wal_and_what_lies_between_does_not() -> None:
    history = [Aged(new_id(), Kind.IMAGE, Lsn(lsn)) for lsn in (10, 100, 200, 300)]
    redo = {(one.layer,): Lsn(one.consistent.value - 5) for one in history}
    found = needed_wal(history, [Lsn(3), Lsn(120)], Lsn(250), redo.__getitem__)
    assert [(start.value, end.value) for start, end in found[:1]] == [(95, 120)]
    assert found[1][0] == Lsn(195)
    assert found[1][1] > Lsn(1 << 60)
    before_all = needed_wal(history, [], Lsn(0), redo.__getitem__)
    assert before_all[0][0] == Lsn(5)
