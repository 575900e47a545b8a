"""The marker comes only after a sync, and one sync serves all who wait for it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from neon_compose.compute.marker import Settler, Trust, boot_id, syncing, trust
from neon_compose.wait import Deadline, until


def test_who_comes_while_a_sync_runs_waits_for_the_next_one(tmp_path: Path) -> None:
    running, go = threading.Event(), threading.Event()
    seen: list[list[bool]] = []
    markers = [tmp_path / name for name in ("a", "b", "c")]
    (tmp_path / "compute.json").touch()

    def sync() -> None:
        running.set()
        assert go.wait(5.0)
        seen.append([marker.exists() for marker in markers])

    settler = Settler("boot", sync)
    settler.settle(markers[0])
    assert running.wait(5.0)
    settler.settle(markers[1])
    settler.settle(markers[2])
    go.set()
    assert settler.idle(5.0)
    assert seen == [[False, False, False], [True, False, False]]
    assert all(marker.read_text() == "boot\n" for marker in markers)


def test_compute_json_is_synced_before_the_marker_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been replaced since the sync of everything began."""
    record, marker = tmp_path / "compute.json", tmp_path / "marker"
    record.touch()
    seen: list[bool] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").resolve() == record:
            seen.append(marker.exists())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    settler = Settler("boot", lambda: None)
    settler.settle(marker)
    assert settler.idle(60.0)
    assert (seen, marker.exists()) == ([False], True)


def test_no_marker_appears_under_who_holds_it(tmp_path: Path) -> None:
    (tmp_path / "compute.json").touch()
    marker = tmp_path / "marker"
    settler = Settler("boot", lambda: None)
    with settler.holding(marker):
        settler.settle(marker)
        assert not settler.idle(0.1)
        assert not marker.exists()
    assert settler.idle(60.0)
    assert marker.exists()


def test_a_folder_that_went_meanwhile_is_no_error(tmp_path: Path) -> None:
    settler = Settler("boot", lambda: None)
    settler.settle(tmp_path / "gone" / "marker")
    assert settler.idle(5.0)


def test_trust_is_the_marker_else_the_boot(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert trust(marker, "a", "a") is Trust.SETTLING
    assert trust(marker, "a", "b") is Trust.DOUBTFUL
    marker.touch()
    assert trust(marker, "a", "b") is Trust.SETTLED


def test_the_real_sync_and_boot_id_work(tmp_path: Path) -> None:
    syncing(tmp_path)()
    assert len(boot_id()) == 36


def test_a_marker_that_found_no_room_comes_once_there_is_some(tmp_path: Path) -> None:
    """Else a compute laid out on a disk that was full for a moment would never checkpoint."""
    room, synced, refused = threading.Event(), [], threading.Event()
    (tmp_path / "compute.json").touch()

    def write(target: Path, data: bytes) -> None:
        if not room.is_set():
            refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        target.write_bytes(data)

    settler = Settler("boot-1", lambda: synced.append(1), write, again_s=0.01)
    settler.settle(tmp_path / "one")
    assert refused.wait(10)
    settler.settle(tmp_path / "two")
    assert not settler.idle(0.05)
    assert not (tmp_path / "one").exists()
    room.set()
    assert settler.idle(10)
    assert {path.name for path in tmp_path.iterdir()} == {"compute.json", "one", "two"}
    assert len(synced) == 2  # marking again is not syncing again


def test_a_marker_that_failed_otherwise_is_not_tried_again(tmp_path: Path) -> None:
    tries = []
    (tmp_path / "compute.json").touch()

    def write(target: Path, _: bytes) -> None:
        tries.append(target)
        raise OSError(errno.EIO, "Input/output error")

    settler = Settler("boot-1", lambda: None, write, again_s=0.01)
    settler.settle(tmp_path / "one")
    assert settler.idle(10)
    assert tries == [tmp_path / "one"]


def test_a_failed_sync_of_the_record_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of lost writes once: the second try would succeed."""
    (tmp_path / "compute.json").touch()
    tries: list[int] = []

    def fails(fd: int) -> None:
        tries.append(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("neon_compose.compute.marker.os.fsync", fails)
    settler = Settler("boot-1", lambda: None, lambda *_: None, again_s=0.01)
    settler.settle(tmp_path / "one")
    assert settler.idle(10)
    assert len(tries) == 1
    monkeypatch.undo()
    settler.settle(tmp_path / "one")
    assert settler.idle(10)
    assert not (tmp_path / "one").exists()


def test_the_file_system_is_opened_once_before_all_syncs(tmp_path: Path) -> None:
    """An error that another's sync was told of is told to those who had it open before."""
    work = tmp_path / "work"
    work.mkdir()
    sync = syncing(work)
    work.rename(tmp_path / "elsewhere")  # opening it again would fail
    sync()


class Disk:
    """Generations in a folder, and a sync that fails when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.works = True
        self.syncs = 0
        self.during: Callable[[], object] = lambda: None

    def sync(self) -> None:
        self.syncs += 1
        self.during()
        if not self.works:
            raise OSError(errno.EIO, "Input/output error")

    def lay_out(self, settler: Settler, name: str) -> Path:
        root = self.folder / name
        root.mkdir(exist_ok=True)
        settler.laying_out(root / "marker")
        (root / "compute.json").touch()
        return root / "marker"


def settled(settler: Settler, *markers: Path) -> list[bool]:
    settler.settle(*markers)
    assert settler.idle(10)
    return [marker.exists() for marker in markers]


def test_what_a_failed_sync_may_have_lost_is_never_marked_by_a_later_one(tmp_path: Path) -> None:
    """The kernel tells of lost writes once: the second sync would succeed over pages that are nowhere."""
    disk = Disk(tmp_path)
    settler = Settler("boot", disk.sync)
    one = disk.lay_out(settler, "one")
    unasked = disk.lay_out(settler, "unasked")  # laid out, and not yet to be settled
    disk.works = False
    assert settled(settler, one) == [False]
    disk.works = True
    assert settled(settler, one, unasked) == [False, False]
    assert settled(Settler("boot", disk.sync), one, unasked) == [False, False]  # another process


def test_a_layout_that_began_during_a_sync_that_failed_is_not_marked(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    settler = Settler("boot", disk.sync)
    one, found = disk.lay_out(settler, "one"), []
    disk.works, disk.during = False, lambda: found.append(disk.lay_out(settler, "two"))
    assert settled(settler, one) == [False]
    disk.works, disk.during = True, lambda: None
    assert settled(settler, *found) == [False]


def test_a_layout_after_a_failed_sync_is_marked(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    settler = Settler("boot", disk.sync)
    one = disk.lay_out(settler, "one")
    disk.works = False
    assert settled(settler, one) == [False]
    disk.works = True
    assert settled(settler, disk.lay_out(settler, "two")) == [True]
    assert settled(settler, disk.lay_out(settler, "one")) == [True]  # all of it anew


def test_an_old_error_of_the_disk_concerns_nothing_laid_out_later(tmp_path: Path) -> None:
    """A process's first sync may tell of an error from before it: so it is made at once."""
    disk = Disk(tmp_path)
    settler = Settler("boot", disk.sync)
    disk.works = False
    settler.settle()
    assert settler.idle(10)
    disk.works = True
    assert disk.syncs == 1
    assert settled(settler, disk.lay_out(settler, "one")) == [True]


def test_where_a_failed_sync_cant_be_noted_it_is_remembered(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    settler = Settler("boot", disk.sync)
    one = disk.lay_out(settler, "one")
    blocked = tmp_path / "one" / "unsynced"
    disk.works, disk.during = False, blocked.mkdir
    assert settled(settler, one) == [False]
    disk.works, disk.during = True, lambda: None
    blocked.rmdir()
    assert settled(settler, one) == [False]


def test_nothing_is_remembered_of_what_is_marked_or_gone(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    settler = Settler("boot", disk.sync)
    one, gone, failed = (disk.lay_out(settler, name) for name in ("one", "gone", "failed"))
    with settler.holding(one):
        pass
    for left in (gone, failed):
        left.with_name("compute.json").unlink()
        left.parent.rmdir()
    assert settled(settler, one, gone) == [True, False]
    assert (settler._held, settler._since) == ({}, {})


def test_who_comes_while_a_lock_is_held_waits_for_it(tmp_path: Path) -> None:
    settler = Settler("boot", lambda: None)
    inside, go, order = threading.Event(), threading.Event(), []

    def hold(name: str) -> None:
        with settler.holding(tmp_path / "marker"):
            inside.set()
            assert go.wait(10)
            order.append(name)

    first = threading.Thread(target=hold, args=("first",))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=hold, args=("second",))
    second.start()
    until("both to want it", lambda: settler._held[tmp_path / "marker"].users == 2, Deadline.after(10))
    go.set()
    first.join()
    second.join()
    assert order == ["first", "second"]
    assert settler._held == {}
