"""`storage import --refresh`: a newer copy of its source, beside all that was made from the older one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sources import PASSWORD, Source, postgres_17
from tests.e2e.stack import PROGRAM, Stack

CRM = "crm"  # the storage, made from a server


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with postgres_17() as server:
        server.sql("postgres", "create database shop")
        server.sql("shop", "create table orders as select generate_series(1, 1000) id")
        yield server


@pytest.fixture
def crm(shared: Stack, source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    shared.cli("storage", "attach", CRM, "--import", source.url("shop"))
    yield shared
    for pg in shared.json("pg", "list"):
        if pg["storage_name"] == CRM:
            shared.run("pg", "stop", pg["name"])
            shared.cli("pg", "destroy", pg["name"], "--discard-writes")
    shared.cli("storage", "detach", CRM, "--purge")
    assert [one for one in shared.leftovers() if one.endswith(f"_{CRM}") or "_probe_" in one] == []


def count(stack: Stack, pg: str) -> int:
    [(found,)] = stack.sql(pg, "select count(*) from orders")
    assert isinstance(found, int)
    return found


def snapshots(stack: Stack) -> list[str]:
    names: list[str] = stack.json("storage", "show", CRM)["snapshots"]
    return names


def grow(source: Source, rows: int) -> int:
    """More orders at the source; how many there are now."""
    source.sql("shop", f"insert into orders select generate_series(1, {rows})")
    [(found,)] = source.sql("shop", "select count(*) from orders")
    return int(found)


def test_new_branches_have_the_newer_copy_and_old_ones_keep_theirs(crm: Stack, source: Source) -> None:
    before = grow(source, 0)
    crm.cli("branch", "create", "old", "--from", CRM)
    crm.sql("old", "insert into orders values (-1)")
    after = grow(source, 500)
    crm.cli("storage", "import", "--refresh", CRM)
    assert snapshots(crm) == ["import", "import-2"]
    assert count(crm, "old") == before + 1
    crm.cli("branch", "create", "new", "--from", CRM)
    assert count(crm, "new") == after
    crm.cli("branch", "create", "moment", "--from", f"{CRM}/main@import")
    assert count(crm, "moment") == before
    crm.cli("pg", "restart", "old")
    assert count(crm, "old") == before + 1
    assert crm.misplaced() == []


def test_a_dump_file_and_a_file_of_another_database_refresh_too(crm: Stack, tmp_path: Path) -> None:
    dump = tmp_path / "other.sql"
    dump.write_text(
        "--\n-- PostgreSQL database dump\n--\nCREATE DATABASE other;\n\\connect other\n"
        "CREATE TABLE orders (id int);\nINSERT INTO orders VALUES (1), (2);\n"
        "--\n-- PostgreSQL database dump complete\n--\n"
    )
    crm.cli("branch", "create", "old", "--from", CRM)
    crm.cli("storage", "import", "--refresh", "-n", CRM, str(dump))
    crm.cli("branch", "create", "new", "--from", CRM)
    assert count(crm, "new") == 2
    assert crm.sql("new", "select current_database()") == [("other",)]
    assert crm.sql("old", "select current_database()") == [("shop",)]


def test_a_pg_on_main_is_in_its_way_until_it_is_destroyed(crm: Stack, source: Source) -> None:
    crm.cli("pg", "create", "live", "-s", CRM)
    crm.cli("pg", "start", "live")
    ran = crm.run("storage", "import", "--refresh", CRM)
    assert (ran.code, "pg destroy -n live" in ran.err) == (4, True)
    assert snapshots(crm) == ["import"]
    crm.cli("pg", "stop", "live")
    crm.cli("pg", "destroy", "live")
    after = grow(source, 10)
    crm.cli("storage", "import", "--refresh", CRM)
    crm.cli("pg", "create", "live", "-s", CRM)
    crm.cli("pg", "start", "live")
    assert count(crm, "live") == after


def test_a_pageserver_killed_in_the_middle_leaves_the_old_copy_and_nothing_else(
    crm: Stack, source: Source
) -> None:
    before = grow(source, 0)
    container = crm.container(f"storage_{CRM}")
    with subprocess.Popen(
        [PROGRAM, "storage", "import", "--refresh", CRM],
        cwd=crm.folder,
        env=os.environ | {"XDG_STATE_HOME": str(crm.folder / "state")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("vacuum"))
        container.kill()
        said += process.stderr.read()
    assert process.returncode not in (0, 70), said
    crm.cli("up", "-d")
    assert snapshots(crm) == ["import"]
    crm.cli("branch", "create", "again", "--from", CRM)
    assert count(crm, "again") == before
    assert crm.misplaced() == []


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        (("storage", "import", CRM), 2, "--refresh"),
        (("storage", "import", "--refresh", "nothing"), 3, "nothing"),
        (("storage", "import", "--refresh", CRM, "/no/such/file"), 3, "/no/such/file"),
        (("storage", "import", "--refresh", CRM, "postgres://boss@localhost:1/shop"), 5, "port 1 "),
        (("storage", "import", "--refresh", "main"), 2, "no source"),
    ],
)
def test_what_can_not_be_refreshed_is_said_and_changes_nothing(
    crm: Stack, line: tuple[str, ...], code: int, word: str
) -> None:
    ran = crm.run(*line)
    assert (ran.code, word in ran.err) == (code, True), ran.err
    assert snapshots(crm) == ["import"]
