"""Commits as pg_waldump 17 describes them (tests/wal makes it say so itself)."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.commits import Commit, parse_commit
from neon_compose.postgres.versions import Version
from neon_compose.postgres.waldump import Line
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Found, commits, find_time

SEGMENT = 1 << 20
START, UPTO = Lsn(5 * SEGMENT), Lsn(5 * SEGMENT + 4096)
AT = datetime(2026, 11, 28, 10, 15, 2, 48826, tzinfo=UTC)
TIME = "2026-11-28 10:15:02.048826 UTC"


def line(description: str, lsn: str = "0/00500028", length: int = 34) -> str:
    return (
        f"rmgr: Transaction len (rec/tot): {length:6}/{length:6}, tx:        761, lsn: {lsn}, "
        f"prev 0/00500000, desc: {description}"
    )


def parsed(description: str, major: int = 17) -> Commit | None:
    found = Line.parse(line(description))
    assert found is not None
    return parse_commit(found, SEGMENT, major)


@pytest.mark.parametrize("verb", ["COMMIT", "COMMIT_PREPARED 740:"])
def test_a_commit_tells_its_time_and_where_it_ends(verb: str) -> None:
    assert parsed(f"{verb} {TIME}") == Commit(Lsn(0x500028), Lsn(0x500050), AT, changed_catalogs=False)


@pytest.mark.parametrize(
    "other", [f"ABORT {TIME}", f"PREPARE gid p: {TIME}", "ASSIGNMENT xtop 7: subxacts: 8"]
)
def test_other_records_are_no_commits(other: str) -> None:
    assert parsed(other) is None


CREATE = (
    "inval msgs: catcache 80 catcache 79 catcache 55 catcache 54 catcache 7 catcache 6 snapshot 2608 "
    "relcache 16387"
)
TRUNCATE = "rels: base/5/16391; inval msgs: catcache 55 catcache 54 relcache 16387"


@pytest.mark.parametrize(
    "rest",
    [
        CREATE,
        TRUNCATE,
        f"rels: base/5/16387; dropped stats: 2/5/16387; {CREATE}",
        "subxacts: 762 763; inval msgs: catcache 11 catcache 10",  # CREATE ROLE
        "inval msgs: catcache 21; sync",  # CREATE DATABASE
        "relcache init file inval dbid 5 tsid 1663; inval msgs: relcache 1259",
        "inval msgs: catcache 63 catcache 7 catcache 6 relcache 16387",  # ALTER COLUMN … TYPE
        "inval msgs: catcache 63 snapshot 2608",
        "inval msgs: catalog 1259 catcache 63",
    ],
)
def test_a_commit_that_others_have_to_forget_something_for_changed_catalogs(rest: str) -> None:
    found = parsed(f"COMMIT {TIME}; {rest}")
    assert found is not None
    assert found.changed_catalogs


@pytest.mark.parametrize(
    "rest",
    [
        "; subxacts: 749",
        "; sync",
        "; origin: node 1, lsn 0/1, at 2026-11-28 10:15:02.048826 UTC",
        "; inval msgs: catcache 63 catcache 63 catcache 63 catcache 63",  # ANALYZE
        "; inval msgs: catcache 63 catcache 55 catcache 54 relcache 16387",
        "; inval msgs: catcache 60; origin: node 1, lsn 0/1, at 2026-11-28 10:15:02.048826 UTC",
    ],
)
def test_rows_and_statistics_are_no_change_of_catalogs(rest: str) -> None:
    found = parsed(f"COMMIT {TIME}{rest}")
    assert found is not None
    assert not found.changed_catalogs


def test_of_a_major_whose_caches_are_not_known_statistics_count() -> None:
    found = parsed(f"COMMIT {TIME}; inval msgs: catcache 63", major=99)
    assert found is not None
    assert found.changed_catalogs


# ---- all of a stretch

Says = Callable[..., tuple[Version, WalFolder]]


@pytest.fixture
def says(tmp_path: Path) -> Says:
    """A folder with a segment, and a pg_waldump that says `lines` and then exits with `code`."""

    def make(*lines: str, code: int = 0) -> tuple[Version, WalFolder]:
        folder = WalFolder(tmp_path, 1, SEGMENT)
        folder.complete(5).write_bytes(bytes(SEGMENT))
        (tmp_path / "out").write_text("".join(f"{one}\n" for one in lines))
        program = tmp_path / "pg_waldump"
        program.write_text(f"#!/bin/sh\necho $@ >>{tmp_path}/asked\ncat {tmp_path}/out\nexit {code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return Version(17, tmp_path), folder

    return make


def test_commits_come_in_the_order_of_wal(says: Says, tmp_path: Path) -> None:
    version, wal = says(
        line(f"COMMIT {TIME}"),
        line(f"ABORT {TIME}", "0/00500050"),
        line(f"COMMIT {TIME}; {CREATE}", "0/00500078"),
    )
    found = list(commits(version, wal, START, UPTO))
    assert [(one.start, one.changed_catalogs) for one in found] == [
        (Lsn(0x500028), False),
        (Lsn(0x500078), True),
    ]
    assert f"--end={UPTO} --rmgr=Transaction" in (tmp_path / "asked").read_text()


def test_nothing_is_asked_of_an_empty_stretch(says: Says, tmp_path: Path) -> None:
    version, wal = says()
    assert list(commits(version, wal, START, START)) == []
    assert find_time(version, wal, START, START, AT) == Found(None, None, None)
    assert not (tmp_path / "asked").exists()


def test_wal_that_ends_before_it_should_is_damaged(says: Says) -> None:
    version, wal = says(line(f"COMMIT {TIME}"), code=1)
    with pytest.raises(Corrupt, match="damaged"):
        list(commits(version, wal, START, UPTO))


def test_a_time_is_before_the_first_commit_after_it(says: Says) -> None:
    late = "2026-11-28 10:15:03 UTC"
    version, wal = says(line(f"COMMIT {TIME}"), line(f"COMMIT {late}", "0/00500050"), code=1)
    found = find_time(version, wal, START, UPTO, AT)
    assert found == Found(Lsn(0x500050), AT, AT.replace(second=3, microsecond=0))
