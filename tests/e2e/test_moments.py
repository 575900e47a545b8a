"""Branches and snapshots at moments of a parent that runs and is written to, on real containers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from neon_compose.wait import Deadline, monotonic_s, until
from tests.e2e.stack import Stack

COUNT = "select count(*), coalesce(max(id), 0) from rows"
CLOCK = "select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.USZ')"
BALLAST = "create table ballast as select g, repeat(md5(g::text), 20) from generate_series(1, 130000) g"
REDO_S = 180  # a redo job looks for work every few seconds


@dataclass
class Writer:
    """Commits row after row in the pg, with some ballast; `still` holds it between two commits."""

    url: str
    mutex: threading.Lock
    over: threading.Event
    rows: int = 0

    def run(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as session:
            while not self.over.is_set():
                with self.mutex:
                    session.execute("insert into rows values (%s, repeat('x', 500))", (self.rows + 1,))
                    self.rows += 1

    @contextmanager
    def still(self) -> Iterator[int]:
        """How many rows are committed now, and stay so."""
        with self.mutex:
            yield self.rows


@pytest.fixture(scope="module")
def writer(module_stack: Stack) -> Iterator[Writer]:
    module_stack.sql("main", "create table rows (id int primary key, filler text)")
    writer = Writer(module_stack.url("main"), threading.Lock(), threading.Event())
    thread = threading.Thread(target=writer.run)
    thread.start()
    yield writer
    writer.over.set()
    thread.join()


def one(stack: Stack, pg: str, sql: str) -> str:
    [(found,)] = stack.sql(pg, sql)
    return str(found)


def rows_of(stack: Stack, source: str) -> int:
    """How many rows a branch of `source` has; they must be the first ones."""
    stack.cli("branch", "create", "probe", "--from", source)
    [(count, last)] = stack.sql("probe", COUNT)
    stack.cli("pg", "stop", "probe")
    stack.cli("branch", "delete", "probe", "--discard-writes")
    assert count == last
    return int(count)


def noted(stack: Stack, writer: Writer, name: str) -> dict[str, int]:
    """Sources of one moment in all its forms, and how many rows there were then."""
    with writer.still() as rows:
        stack.cli("snapshot", "create", name, "--from", "main/main")
        lsn = one(stack, "main", "select pg_current_wal_flush_lsn()")
        time = one(stack, "main", CLOCK)
    return {f"main/main@{moment}": rows for moment in (name, lsn, time)}


def test_a_branch_at_a_moment_has_what_was_committed_by_then(module_stack: Stack, writer: Writer) -> None:
    early = noted(module_stack, writer, "early")
    until("more rows", lambda: writer.rows > max(early.values()) + 200, Deadline.after(60))
    late = noted(module_stack, writer, "late")
    until("more rows", lambda: writer.rows > max(late.values()) + 200, Deadline.after(60))
    for source, rows in (early | late).items():
        assert rows_of(module_stack, source) == rows, source
    with writer.still() as rows:
        assert rows_of(module_stack, "main/main") == rows

    # The same after a redo job has put a newer layer on the branch.
    module_stack.sql("main", BALLAST)
    until("a redo job", lambda: has_newer_layer(module_stack), Deadline.after(REDO_S))
    for source, rows in (early | late).items():
        assert rows_of(module_stack, source) == rows, source


def has_newer_layer(stack: Stack) -> bool:
    [main] = [one for one in stack.json("branch", "list") if one["name"] == "main"]
    return main["wal_bytes"] is not None and main["wal_bytes"] < 48 << 20


def test_a_childs_earlier_moments_are_its_parents(module_stack: Stack, writer: Writer) -> None:
    with writer.still() as before:
        module_stack.cli("branch", "create", "child", "--from", "main/main")
        lsn = one(module_stack, "child", "select pg_current_wal_flush_lsn()")
    until("more rows", lambda: writer.rows > before + 50, Deadline.after(60))
    time = one(module_stack, "child", CLOCK)
    module_stack.sql("child", f"insert into rows values ({before + 1}, 'mine')")
    for source, rows in {"child": before + 1, f"child@{time}": before, f"child@{lsn}": before}.items():
        assert rows_of(module_stack, source) == rows, source
    module_stack.cli("pg", "stop", "child")
    module_stack.cli("branch", "delete", "child", "--discard-writes")


def test_a_transaction_that_is_prepared_is_so_in_a_branch(module_stack: Stack) -> None:
    module_stack.cli("branch", "create", "two", "--from", "main/main@init")
    module_stack.sql("two", "create table t (n int)")
    module_stack.sql("two", "begin; insert into t values (1); prepare transaction 'p'")
    module_stack.cli("branch", "create", "three", "--from", "two")
    module_stack.sql("three", "commit prepared 'p'")
    for pg, rows in (("two", 0), ("three", 1)):
        assert module_stack.sql(pg, "select count(*) from t") == [(rows,)]
    for pg in ("three", "two"):
        module_stack.cli("pg", "stop", pg)
        module_stack.cli("branch", "delete", pg, "--discard-writes")


def test_a_snapshot_of_a_busy_branch_is_made_at_once(module_stack: Stack, writer: Writer) -> None:
    def put(http: httpx.Client, name: str) -> float:
        begun_s = monotonic_s()
        made = http.put(f"/snapshots/main/{name}", json={"from": "main/main"})
        assert made.status_code == 201, made.text
        return monotonic_s() - begun_s

    with module_stack.http() as http:
        took = sorted(put(http, f"quick-{n}") for n in range(15))
        for n in range(15):
            assert http.delete(f"/snapshots/main/quick-{n}").status_code == 204
    print(f"snapshots took {[round(one * 1000) for one in took]} ms, {writer.rows} rows written")
    assert took[len(took) // 2] < 0.5  # a machine that does much else at the same time


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        ("2020-01-01T00:00:00Z", 3),
        ("2999-01-01T00:00:00Z", 2),
        ("0/1", 3),
        ("FFFF/0", 3),
        ("9d", 3),
        ("5x", 2),
        ("no-such", 3),
    ],
)
def test_what_is_no_moment_is_refused_with_the_range_there_is(
    module_stack: Stack, writer: Writer, moment: str, code: int
) -> None:
    assert writer.rows
    for command in (("branch", "create", "none"), ("snapshot", "create", "none")):
        ran = module_stack.run(*command, "--from", f"main/main@{moment}")
        assert ran.code == code, ran.err
        assert "hint: " in ran.err
    assert "none" not in [one["name"] for one in module_stack.json("branch", "list")]
