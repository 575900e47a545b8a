"""Whether a compute has writes, with a stand-in for pg_waldump that says what the real one says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from neon_compose.compute.writes import WriteScan
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.versions import Version
from neon_compose.wait import Deadline, until

FIRST, SECOND = "000000010000000000000002", "000000010000000000000003"
START = Lsn.parse("0/B49F78")
COMMIT = "rmgr: Transaction len 34, tx: 735, lsn: 0/00B5A0B8, prev 0/00B5A080, desc: COMMIT 2026-11-23"
PREPARE = "rmgr: Transaction len 34, tx: 735, lsn: 0/00B5A0B8, prev 0/00B5A080, desc: PREPARE gid g"
ABORT = "rmgr: Transaction len 34, tx: 735, lsn: 0/00B5A0B8, prev 0/00B5A080, desc: ABORT 2026-11-23"
END = "pg_waldump: error: error in WAL record at 0/B5A0B8: invalid record length at 0/B5A0E0"
NO_MORE = f'pg_waldump: error: could not find file "{SECOND}": No such file or directory'
UNREADABLE = f'pg_waldump: error: invalid WAL segment size in WAL file "{SECOND}" (0 bytes)'


def scan(tmp_path: Path, out: str, err: str, segments: tuple[str, ...] = (FIRST, SECOND)) -> bool:
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    for name in segments:
        with (wal / name).open("wb") as file:
            file.truncate(4 << 20)
    program = tmp_path / "pg_waldump"
    # A program that is not told the first and the last segment reads too little.
    answer = f"echo '{out}'; echo '{err}' >&2; exit 1"
    named = f"{segments[0]} {segments[-1]}" if segments else "none"
    program.write_text(f'#!/bin/sh\ncase "$*" in *" {named}") {answer};; esac\nexit 3\n')
    program.chmod(0o755)
    return WriteScan(Version(17, tmp_path)).has_writes(wal, START)


@pytest.mark.parametrize("line", [COMMIT, PREPARE])
def test_a_commit_or_a_prepared_transaction_is_a_write(tmp_path: Path, line: str) -> None:
    assert scan(tmp_path, line, END)


@pytest.mark.parametrize("line", ["", ABORT])
@pytest.mark.parametrize("end", [END, NO_MORE])
def test_wal_that_ends_without_a_commit_is_no_write(tmp_path: Path, line: str, end: str) -> None:
    assert not scan(tmp_path, line, end)


def test_wal_that_cannot_be_read_may_hold_a_write(tmp_path: Path) -> None:
    assert scan(tmp_path, "", UNREADABLE)


NOTHING = f"pg_waldump: error: could not find a valid record after {START}"
NO_HEADER = f'pg_waldump: error: invalid WAL segment size in WAL file "{FIRST}" (0 bytes)'


@pytest.mark.parametrize("said", [NOTHING, NO_HEADER])
@pytest.mark.parametrize(("at", "writes"), [(None, False), (-1, False), (0, True), (1 << 20, True)])
def test_wal_without_any_record_is_no_write_if_nothing_is_in_it(
    tmp_path: Path, said: str, at: int | None, writes: bool
) -> None:
    """A branch that was laid out for a moment and never started has zeros where its WAL would begin."""
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    with (wal / FIRST).open("wb") as file:
        file.truncate(4 << 20)
        if at is not None:
            file.seek(START.value % (4 << 20) + at)
            file.write(b"x")
    assert scanner(tmp_path, f"echo '{said}' >&2; exit 1").has_writes(wal, START) is writes


@pytest.mark.parametrize("segments", [(), (SECOND,)])
def test_wal_that_lost_its_first_segment_held_writes(tmp_path: Path, segments: tuple[str, ...]) -> None:
    assert scan(tmp_path, "", END, segments)


def test_wal_of_a_later_timeline_is_read_as_well(tmp_path: Path) -> None:
    later = tuple("00000007" + name[8:] for name in (FIRST, SECOND))
    assert not scan(tmp_path, "", END, later)


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    folder = tmp_path / "pg_wal"
    folder.mkdir()
    with (folder / FIRST).open("wb") as file:
        file.truncate(4 << 20)
    return folder


HOUR_NS = 3600 * 10**9


def later() -> int:
    """An hour from now: whatever was stamped is stamped for good."""
    return time.time_ns() + HOUR_NS


def scanner(tmp_path: Path, script: str, now_ns: Callable[[], int] = later) -> WriteScan:
    program = tmp_path / "pg_waldump"
    program.write_text(f'#!/bin/sh\necho asked >> "$(dirname "$0")/asked"\n{script}\n')
    program.chmod(0o755)
    return WriteScan(Version(17, tmp_path), now_ns)


def test_an_answer_holds_until_the_wal_changes(tmp_path: Path, wal: Path) -> None:
    scan = scanner(tmp_path, f"echo '{END}' >&2; exit 1")
    for _ in range(3):
        assert not scan.has_writes(wal, START)
    assert (tmp_path / "asked").read_text() == "asked\n"
    os.utime(wal / FIRST, ns=(1, 1))
    assert not scan.has_writes(wal, START)
    assert (tmp_path / "asked").read_text() == "asked\nasked\n"


@pytest.mark.parametrize("clock", [time.time_ns, lambda: time.time_ns() - HOUR_NS], ids=["tick", "set back"])
def test_a_no_about_wal_of_this_moment_is_not_remembered(
    tmp_path: Path, wal: Path, clock: Callable[[], int]
) -> None:
    """A commit within the kernel's tick after the look leaves the same stamps."""
    (wal / FIRST).touch()
    first = scanner(tmp_path, f"echo '{END}' >&2; exit 1", clock)
    assert not first.has_writes(wal, START)
    scanner(tmp_path, f"echo '{COMMIT}'")
    assert first.has_writes(wal, START)


def test_a_modification_time_that_was_set_back_hides_no_write(tmp_path: Path, wal: Path) -> None:
    first = scanner(tmp_path, f"echo '{END}' >&2; exit 1")
    before = (wal / FIRST).stat()
    assert not first.has_writes(wal, START)
    until("another stamp", lambda: _touched(wal / FIRST, before.st_ctime_ns), Deadline.after(10))
    os.utime(wal / FIRST, ns=(before.st_atime_ns, before.st_mtime_ns))
    scanner(tmp_path, f"echo '{COMMIT}'")
    assert first.has_writes(wal, START)


def _touched(path: Path, not_at_ns: int) -> bool:
    path.touch()
    return path.stat().st_ctime_ns != not_at_ns


def test_a_folder_that_is_gone_may_have_held_a_write(tmp_path: Path) -> None:
    assert scanner(tmp_path, "exit 1").has_writes(tmp_path / "gone", START)


def test_endless_wal_is_read_up_to_its_first_commit(tmp_path: Path, wal: Path) -> None:
    assert scanner(tmp_path, "yes 'desc: COMMIT'").has_writes(wal, START)


def test_wal_that_is_recycled_while_it_is_read_held_writes(tmp_path: Path, wal: Path) -> None:
    gone = f'rm {wal / FIRST}; echo "pg_waldump: error: could not find file" >&2; exit 1'
    assert scanner(tmp_path, gone).has_writes(wal, START)
