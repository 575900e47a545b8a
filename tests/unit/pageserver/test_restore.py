"""Restoring: which roles are made, and what a failure is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from neon_compose.errors import Invalid
from neon_compose.pageserver.dump import Dump, Format
from neon_compose.pageserver.restore import check_versions, refused, restore
from neon_compose.postgres.programs import ProgramFailed
from tests.unit.pageserver.scratch import FakeScratch, quiet_job


def no_locale(_: str) -> bool:
    return False


def plain(tmp_path: Path, sql: str) -> Dump:
    path = tmp_path / "dump.sql"
    path.write_text(sql)
    return Dump(Format.PLAIN, path, path.stat().st_size)


def test_missing_roles_are_superusers_only_while_the_dump_is_restored(tmp_path: Path) -> None:
    server = FakeScratch(tmp_path)
    sql = "ALTER TABLE t OWNER TO app;\nALTER TABLE u OWNER TO postgres;\nGRANT SELECT ON t TO pg_monitor;\n"
    restore(plain(tmp_path, sql), server, tmp_path, 17, no_locale, quiet_job())
    assert [step for step in server.done if step == "psql" or " ROLE " in step] == [
        'CREATE ROLE "app" NOLOGIN SUPERUSER',
        'CREATE ROLE "postgres" NOLOGIN SUPERUSER',
        "psql",
        'ALTER ROLE "app" NOSUPERUSER',
    ]


@pytest.mark.parametrize(
    ("sql", "database"),
    [
        ("SELECT 1;\n", "postgres"),
        ("CREATE DATABASE shop;\n\\connect shop\n", "shop"),
        ("CREATE DATABASE a;\nCREATE DATABASE b;\n", "postgres"),
    ],
)
def test_the_default_database_is_the_one_a_dump_makes(tmp_path: Path, sql: str, database: str) -> None:
    done = restore(plain(tmp_path, sql), FakeScratch(tmp_path), tmp_path, 17, no_locale, quiet_job())
    assert done.default_database == database


def test_an_archive_is_listed_for_roles_before_it_is_restored(tmp_path: Path) -> None:
    def pg_restore(_: str, args: Sequence[str]) -> None:
        for arg in args:
            if arg.startswith("--file="):
                Path(arg.removeprefix("--file=")).write_text("ALTER TABLE t OWNER TO app;\n")

    server = FakeScratch(tmp_path, on_run=pg_restore)
    dump = Dump(Format.CUSTOM, tmp_path / "dump", 1)
    restore(dump, server, tmp_path, 17, no_locale, quiet_job())
    assert server.done.index('CREATE ROLE "app" NOLOGIN SUPERUSER') > server.done.index("pg_restore")
    assert server.done.count("pg_restore") == 3


@pytest.mark.parametrize(
    "header", ["-- Dumped from database version 18.1 (Debian)", ";     Dumped from database version: 18.1"]
)
def test_a_dump_of_a_newer_major_is_refused(header: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_versions(header, 17)
    assert caught.value.code == "newer_dump"


def test_a_dump_of_an_older_server_by_a_newer_pg_dump_is_tried() -> None:
    check_versions("-- Dumped from database version 16.2\n-- Dumped by pg_dump version 18.0", 17)


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        ("pg_restore: error: unsupported version (1.17) in file header", "newer_dump", "newer"),
        ("pg_restore: error: could not read from input file: end of file", "bad_dump", "truncated"),
        ('psql:<stdin>:3: ERROR:  role "x" does not exist', "bad_dump", "restored"),
    ],
)
def test_a_failure_is_an_error_about_the_dump_in_the_programs_words(said: str, code: str, word: str) -> None:
    error = refused(ProgramFailed("pg_restore", 1, f"noise\n{said}"))
    assert (error.code, error.status) == (code, 422)
    assert word in error.message
    assert "noise" not in error.detail
