"""The marker comes only after a sync, and one sync serves all who wait for it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from neon_compose.compute.marker import Settler, Trust, boot_id, sync_filesystem, trust


def test_who_comes_while_a_sync_runs_waits_for_the_next_one(tmp_path: Path) -> None:
    running, go = threading.Event(), threading.Event()
    seen: list[list[bool]] = []
    markers = [tmp_path / name for name in ("a", "b", "c")]
    (tmp_path / "compute.json").touch()

    def sync(_: Path) -> None:
        running.set()
        assert go.wait(5.0)
        seen.append([marker.exists() for marker in markers])

    settler = Settler(tmp_path, "boot", sync)
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
    settler = Settler(tmp_path, "boot", lambda _: None)
    settler.settle(marker)
    assert settler.idle(60.0)
    assert (seen, marker.exists()) == ([False], True)


def test_no_marker_appears_under_who_holds_it(tmp_path: Path) -> None:
    (tmp_path / "compute.json").touch()
    marker = tmp_path / "marker"
    settler = Settler(tmp_path, "boot", lambda _: None)
    with settler.holding(marker):
        settler.settle(marker)
        assert not settler.idle(0.1)
        assert not marker.exists()
    assert settler.idle(60.0)
    assert marker.exists()


def test_a_folder_that_went_meanwhile_is_no_error(tmp_path: Path) -> None:
    settler = Settler(tmp_path, "boot", lambda _: None)
    settler.settle(tmp_path / "gone" / "marker")
    assert settler.idle(5.0)


def test_trust_is_the_marker_else_the_boot(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert trust(marker, "a", "a") is Trust.SETTLING
    assert trust(marker, "a", "b") is Trust.DOUBTFUL
    marker.touch()
    assert trust(marker, "a", "b") is Trust.SETTLED


def test_the_real_sync_and_boot_id_work(tmp_path: Path) -> None:
    sync_filesystem(tmp_path)
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

    settler = Settler(tmp_path, "boot-1", synced.append, write, again_s=0.01)
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

    settler = Settler(tmp_path, "boot-1", lambda _: None, write, again_s=0.01)
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
    settler = Settler(tmp_path, "boot-1", lambda _: None, lambda *_: None, again_s=0.01)
    settler.settle(tmp_path / "one")
    assert settler.idle(10)
    assert len(tries) == 1
