"""A branch of a running, written-to parent, at any moment; and a data directory that is a cache."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import pytest

from tests.e2e.stack import Stack
from tests.e2e.writer import Writer

PARENT = "busy"
ROWS = 5000


@pytest.fixture(scope="module")
def stack(module_stack: Stack) -> Stack:
    return module_stack


@pytest.fixture
def parent(stack: Stack) -> Iterator[Stack]:
    """A pg of its own, with a table; its children, and all of it, go at the end."""
    stack.cli("branch", "create", PARENT, "--from", "main@init")
    stack.sql(PARENT, f"create table t as select g from generate_series(1, {ROWS}) g")
    yield stack
    for pg in reversed(stack.json("pg", "list")):
        if pg["name"] != "main":
            stack.cli("pg", "stop", pg["name"])
            stack.cli("pg", "destroy", pg["name"])
    for snapshot in stack.json("snapshot", "list"):
        if snapshot["name"] != "init":
            stack.cli("snapshot", "delete", snapshot["name"])
    stack.cli("branch", "delete", f"main/{PARENT}", "--cascade")


def count(stack: Stack, pg: str, table: str = "t") -> int:
    ((found,),) = stack.sql(pg, f"select count(*) from {table}")
    return int(found)


def test_a_branch_of_a_busy_parent_has_all_that_was_acknowledged_and_the_parent_goes_on(
    parent: Stack,
) -> None:
    writer = Writer(parent.url(PARENT), "written")
    writer.wait_for_more()
    before = len(writer.acknowledged)
    parent.cli("branch", "create", "child", "--from", PARENT)
    found = [n for (n,) in parent.sql("child", "select n from written order by n")]
    assert len(found) >= before
    assert found == list(range(1, len(found) + 1))  # a moment of it: no gap
    writer.wait_for_more()
    writer.stop()
    assert writer.errors == []
    assert writer.lost(partial(parent.sql, PARENT)) == set()
    parent.sql("child", "drop table written")
    parent.cli("branch", "create", "grandchild", "--from", "child")
    assert count(parent, "grandchild") == ROWS
    assert parent.sql("grandchild", "select to_regclass('written')") == [(None,)]


def test_a_branch_opens_at_an_lsn_a_time_and_a_snapshot(parent: Stack) -> None:
    ((lsn, now),) = parent.sql(PARENT, "select pg_current_wal_insert_lsn()::text, clock_timestamp()")
    assert isinstance(now, datetime)
    parent.cli("snapshot", "create", "whole", "--from", PARENT)
    parent.sql(PARENT, "delete from t where g % 2 = 0")
    parent.sql(PARENT, "drop table t")
    for name, moment in (("by-lsn", lsn), ("by-time", now.isoformat()), ("by-name", "whole")):
        parent.cli("branch", "create", name, "--from", f"{PARENT}@{moment}")
        assert count(parent, name) == ROWS, name
    parent.cli("branch", "create", "now", "--from", PARENT)
    assert parent.sql("now", "select to_regclass('t')") == [(None,)]


def test_moments_that_are_not_there_are_refused_with_those_that_are(parent: Stack) -> None:
    for moment, code in (
        ("0/1", 3),
        ("FFFF/0", 3),
        ("9999d", 3),
        ("2999-01-01T00:00:00Z", 2),
        ("nowhere", 3),
    ):
        ran = parent.run("branch", "create", "none", "--from", f"{PARENT}@{moment}")
        assert ran.code == code, ran
        assert "none" not in [one["name"] for one in parent.json("branch", "list")]


def test_a_lost_data_directory_is_made_again_with_every_acknowledged_row(parent: Stack) -> None:
    writer = Writer(parent.url(PARENT), "written")
    writer.wait_for_more()
    parent.container(f"pg_{PARENT}").remove(force=True)
    writer.stop()
    pageserver = parent.container("storage_main")
    assert pageserver.exec_run(["sh", "-c", f"rm -rf /work/pg/{PARENT}/*"]).exit_code == 0
    url = parent.cli("pg", "start", PARENT).strip()
    assert url == parent.url(PARENT)
    assert writer.lost(partial(parent.sql, PARENT)) == set()
    assert count(parent, PARENT) == ROWS
    parent.sql(PARENT, "insert into t values (0)")
    parent.cli("branch", "create", "after", "--from", PARENT)  # over both terms
    assert count(parent, "after") == ROWS + 1


def test_a_branch_whose_pg_is_gone_still_has_its_writes(parent: Stack) -> None:
    parent.cli("pg", "stop", PARENT)
    parent.cli("pg", "destroy", PARENT)
    parent.cli("branch", "create", "child", "--from", f"main/{PARENT}")
    assert count(parent, "child") == ROWS
    parent.cli("pg", "create", PARENT, "-s", "main", "--branch", PARENT)
    parent.cli("pg", "start", PARENT)
    assert count(parent, PARENT) == ROWS
