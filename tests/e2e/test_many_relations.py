"""A database of very many relations: import, branch, list, kill and restart all work, and lose nothing.

10,000 relation files in `make test`, 100,000 in `make chaos`; the times are printed, not asserted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neon_compose.wait import Deadline, monotonic_s, until
from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack
from tests.scale import amount

pytestmark = pytest.mark.chaos

FILES_PER_TABLE = 4  # table, free space map, visibility map, index


def write_sql(path: Path, tables: int) -> None:
    with path.open("w") as out:
        for n in range(tables):
            out.write(f"create table t{n} (id int);\ncreate index t{n}_id on t{n} (id);\n")
            out.write(f"insert into t{n} values ({n});\n")


@contextmanager
def timed(what: str) -> Iterator[None]:
    began_s = monotonic_s()
    yield
    print(f"{what}: {monotonic_s() - began_s:.1f} s")


def sums(stack: Stack, pg: str, tables: int) -> list[int]:
    """The content of some tables, the first and the last among them."""
    chosen = sorted({0, 1, tables // 2, tables - 1})
    query = " union all ".join(f"select id from t{n}" for n in chosen)
    return sorted(row[0] for row in stack.sql(pg, query))


def test_a_database_of_very_many_relations_is_imported_branched_killed_and_restarted(
    make_stack: StackMaker, tmp_path: Path
) -> None:
    tables = amount(10_000, 100_000) // FILES_PER_TABLE
    expected = sorted({0, 1, tables // 2, tables - 1})
    write_sql(tmp_path / "many.sql", tables)
    stack = make_stack("minio: false\nstorages: {}\n")
    stack.cli("up", "-d")
    with timed(f"import of {tables} tables"):
        stack.cli("storage", "attach", "many", "--import", str(tmp_path / "many.sql"))
    for name in ("one", "two"):
        with timed(f"branch {name}"):
            stack.cli("branch", "create", name, "--from", "many@import")
    assert sums(stack, "one", tables) == expected
    count = "select count(*) from pg_class where relname ~ '^t[0-9]+$'"
    assert stack.sql("one", count) == [(tables,)]
    stack.sql("one", "update t1 set id = 77")
    with timed("status"):
        stack.cli("status")

    stack.container("pg_one").kill()
    stack.container("storage_many").kill()
    with timed("up after both were killed"):
        stack.cli("up", "-d")
    stack.cli("pg", "start", "one")
    until("pg one to be up", lambda: stack.sql("one", "select 1") == [(1,)], Deadline.after(60))
    assert stack.sql("one", "select id from t1") == [(77,)]
    assert sums(stack, "two", tables) == expected
    memory = stack.container("storage_many").stats(stream=False)["memory_stats"]["usage"]
    print(f"memory of the pageserver: {memory >> 20} MiB")
