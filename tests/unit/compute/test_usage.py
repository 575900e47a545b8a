"""How much disk is a compute's own: walked once, until a file says that something has changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neon_compose.compute.paths import ComputePaths
from neon_compose.compute.usage import OwnBytes, allocated_bytes

HOUR_NS = 3600 * 10**9


class Walks:
    """A walk that counts itself."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> int:
        self.count += 1
        return allocated_bytes(folder)


@pytest.fixture
def paths(tmp_path: Path) -> ComputePaths:
    made = ComputePaths(tmp_path / "pg")
    for folder in (made.data / "base" / "5", made.wal, made.control.parent):
        folder.mkdir(parents=True)
    (made.wal / "000000010000000000000002").write_bytes(b"w" * 8192)
    made.control.write_bytes(b"c" * 8192)
    made.overlay.write_bytes(b"o")
    (made.data / "base" / "5" / "1259").write_bytes(b"t" * 100_000)
    return made


def test_nothing_is_walked_twice_while_nothing_changes(paths: ComputePaths) -> None:
    walks = Walks()
    own = OwnBytes(walks, lambda: time.time_ns() + HOUR_NS)
    assert own.of(paths) == own.of(paths) == allocated_bytes(paths.root) > 100_000
    assert walks.count == 1
    own.forget(paths)
    own.of(paths)
    assert walks.count == 2


def _more_wal(paths: ComputePaths) -> None:
    (paths.wal / "000000010000000000000003").write_bytes(b"w" * 200_000)


def _checkpoint(paths: ComputePaths) -> None:
    (paths.data / "base" / "5" / "1259").write_bytes(b"t" * 400_000)
    paths.control.with_name("aside").write_bytes(b"d" * 8192)
    paths.control.with_name("aside").rename(paths.control)


def _new_table(paths: ComputePaths) -> None:
    (paths.data / "base" / "5" / "16384").write_bytes(b"t" * 300_000)


def _overlay(paths: ComputePaths) -> None:
    with paths.overlay.open("ab") as file:
        file.write(b"o" * 70_000)


@pytest.mark.parametrize("change", [_more_wal, _checkpoint, _new_table, _overlay])
def test_what_changed_is_counted(paths: ComputePaths, change: Callable[[ComputePaths], None]) -> None:
    own = OwnBytes(now_ns=lambda: time.time_ns() + HOUR_NS)
    before = own.of(paths)
    change(paths)
    assert own.of(paths) == allocated_bytes(paths.root) > before


def test_what_changes_right_now_is_walked_again(paths: ComputePaths) -> None:
    walks = Walks()
    own = OwnBytes(walks)
    paths.overlay.touch()
    own.of(paths)
    own.of(paths)
    assert walks.count == 2


def test_holes_are_not_disk(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    folder.mkdir()
    with (folder / "sparse").open("wb") as file:
        file.truncate(100 << 20)
    (folder / "full").write_bytes(b"x" * 100_000)
    assert 100_000 <= allocated_bytes(folder) < 1 << 20
