"""WAL in the storage itself: what a folder has needs none of the safekeepers that received it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.stack import Stack

ROWS = 200_000
FILE = "safekeepers: {}\nstorages:\n  main:\n    path: {}\npgs:\n  shop:\n    storage_name: main\n"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Its storage is in a folder, and one safekeeper received WAL before two others came in its place."""
    home = tmp_path_factory.mktemp("archive")
    one = Stack("e2e-archive", home / "stack", Stack.SMALL + FILE.format(1, home / "store"))
    try:
        one.up()
        yield one
    finally:
        one.down_and_check()


def fill(stack: Stack, table: str) -> str:
    """A table of a segment's size at least; the LSN after it."""
    stack.sql("shop", f"create table {table} as select g, md5(g::text) from generate_series(1, {ROWS}) g")
    return str(stack.sql("shop", "select pg_current_wal_flush_lsn()")[0][0])


def rows(stack: Stack, pg: str, table: str) -> int:
    found: int = stack.sql(pg, f"select count(*) from {table}")[0][0]
    return found


def test_what_is_in_a_folder_is_opened_again_by_other_safekeepers(stack: Stack) -> None:
    first = fill(stack, "one")
    fill(stack, "two")
    home = stack.folder.parent
    stack.cli("down", "-v", "--yes")
    (stack.folder / "neon-compose.yaml").write_text(
        f"name: {stack.name}\n" + Stack.SMALL + FILE.format(2, home / "store")
    )
    stack.up()
    assert [rows(stack, "shop", table) for table in ("one", "two")] == [ROWS, ROWS]
    assert len(stack.containers("safekeeper")) == 2
    fill(stack, "three")

    whole = min((home / "store/wal").rglob("*.zst"), key=lambda path: path.name)
    raw = whole.read_bytes()
    whole.write_bytes(raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :])
    stack.container("storage_main").restart()  # what it fetched before is gone
    stack.wait_until(lambda: stack.run("branch", "list").code == 0)
    refused = stack.run("branch", "create", "old", "--from", f"shop@{first}")
    assert refused.code != 0
    assert whole.name in refused.err
    whole.write_bytes(raw)
    stack.cli("pg", "create", "-n", "old", "-s", "main", "--from", f"shop@{first}")
    stack.cli("pg", "start", "-n", "old")
    assert rows(stack, "old", "one") == ROWS
    assert stack.sql("old", "select to_regclass('two')") == [(None,)]


def test_safekeepers_keep_no_more_than_what_layers_lack(stack: Stack) -> None:
    fill(stack, "four")
    moment, file = stack.sql("shop", "select lsn, pg_walfile_name(lsn) from pg_current_wal_flush_lsn() lsn")[
        0
    ]
    fill(stack, "five")
    stack.sql("shop", "drop table four")
    stack.sql("shop", "checkpoint")
    stack.sql("shop", "select pg_switch_wal()")
    stack.sql("shop", "insert into five values (0)")
    keeper = stack.container("safekeeper_1")

    def is_trimmed() -> bool:
        found = keeper.exec_run(["sh", "-c", f"ls /safekeeper/branches/*/wal*/{file}*"])
        return bool(found.exit_code)

    assert not is_trimmed()
    stack.redo("main", "main")
    stack.wait_until(is_trimmed)
    stack.cli("pg", "create", "-n", "before", "-s", "main", "--from", f"shop@{moment}")
    stack.cli("pg", "start", "-n", "before")
    assert rows(stack, "before", "four") == ROWS
