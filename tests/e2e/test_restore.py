"""History in place: a pg goes back under its own URL, and nothing of what it was is lost."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import httpx
import psycopg
import pytest

from tests.e2e.stack import Stack, opens
from tests.e2e.writer import Writer

ROWS = 1000


@pytest.fixture
def past(shared: Stack) -> Iterator[Stack]:
    """A storage `past`, whose pgs go with it."""
    shared.cli("storage", "attach", "past")
    yield shared
    for pg in shared.json("pg", "list"):
        if pg["storage_name"] == "past":
            shared.run("pg", "stop", pg["name"])
            shared.cli("pg", "destroy", pg["name"], "--discard-writes")
    ids = {one["id"] for one in shared.json("branch", "list", "past")}
    assert ids & kept_by_safekeeper(shared)
    shared.cli("storage", "detach", "past", "--purge")
    assert not ids & kept_by_safekeeper(shared)


def kept_by_safekeeper(stack: Stack) -> set[str]:
    """The ids of the branches that it has WAL of."""
    done = stack.container("safekeeper_1").exec_run(["ls", "/safekeeper/branches"])
    assert done.exit_code == 0, done.output
    return set(done.output.decode().split())


def count(url: str) -> int:
    with psycopg.connect(url) as session:
        row = session.execute("select count(*) from orders").fetchone()
    assert row is not None
    return int(row[0])


def filled(stack: Stack, name: str) -> str:
    """A pg with a table of ROWS rows; its URL."""
    stack.cli("branch", "create", name, "--from", "past/main")
    stack.sql(name, f"create table orders as select generate_series(1, {ROWS}) id")
    return stack.url(name)


def test_a_dropped_table_is_there_again_at_the_same_url(past: Stack) -> None:
    url = filled(past, "shop")
    [(before,)] = past.sql("shop", "select pg_current_wal_flush_lsn()::text")
    past.sql("shop", "drop table orders")
    past.sql("shop", "create table late (id int)")
    done = past.json("branch", "restore", "shop", "--to", before)
    assert past.url("shop") == url
    assert count(url) == ROWS
    assert past.sql("shop", "select to_regclass('late')") == [(None,)]
    past.sql("shop", "insert into orders values (-1)")
    assert count(url) == ROWS + 1

    past.cli("pg", "create", "look", "-s", "past", "--branch", done["kept"])
    past.cli("pg", "start", "look")
    assert past.sql("look", "select to_regclass('orders'), to_regclass('late')::text") == [(None, "late")]

    past.sql("look", "insert into late values (1)")
    past.cli("branch", "reset", "shop", "--keep", "shop-second")
    assert past.sql("shop", "select to_regclass('orders')") == [(None,)]
    names = {one["name"] for one in past.json("branch", "list", "past")}
    assert names == {"main", "shop", done["kept"], "shop-second"}
    assert past.misplaced() == []


def test_a_deleted_branch_comes_back_with_its_rows(past: Stack) -> None:
    filled(past, "shop")
    past.cli("pg", "stop", "shop")
    past.cli("branch", "delete", "past/shop")
    [deleted] = past.json("branch", "list", "past", "--deleted")
    assert (deleted["name"], deleted["parent"]) == ("shop", "main")
    past.cli("branch", "create", "shop", "--from", "past/main")
    assert past.run("branch", "undelete", "past/shop").code == 4
    past.cli("branch", "undelete", "past/shop", "--as", "old")
    past.cli("pg", "create", "look", "-s", "past", "--branch", "old")
    past.cli("pg", "start", "look")
    assert count(past.url("look")) == ROWS
    assert past.misplaced() == []


def test_a_pg_goes_to_another_branch_and_back_at_the_same_url(past: Stack) -> None:
    url = filled(past, "shop")
    past.cli("branch", "create", "side", "--from", "shop")
    ran = past.run("pg", "checkout", "shop", "side")
    assert (ran.code, count(url)) == (4, ROWS)
    past.sql("side", "delete from orders where id > 10")
    past.cli("pg", "stop", "side")
    past.cli("pg", "destroy", "side")
    past.cli("pg", "checkout", "shop", "side")
    assert past.url("shop") == url
    assert count(url) == 10
    past.cli("pg", "checkout", "shop", "-")
    assert count(url) == ROWS
    past.sql("shop", "insert into orders values (-1)")
    past.cli("pg", "checkout", "shop", "-")
    assert count(url) == 10
    past.cli("pg", "stop", "shop")
    past.cli("pg", "checkout", "shop", "-")
    past.cli("pg", "start", "shop")
    assert count(url) == ROWS + 1
    assert past.misplaced() == []


def test_a_moment_that_is_none_leaves_the_pg_running(past: Stack) -> None:
    url = filled(past, "shop")
    ran = past.run("branch", "restore", "shop", "--to", "FFFFFFF/0")
    assert ran.code == 3
    assert "no moment" in ran.err
    assert count(url) == ROWS
    assert past.run("branch", "restore", "past", "--to", "2020-01-01T00:00:00Z").code == 3


def restored_at_once(stack: Stack, *moments: str) -> list[httpx.Response]:
    """The answers to restores of "shop" that were asked for at the same time."""
    together = Barrier(len(moments))

    def ask(moment: str) -> httpx.Response:
        with stack.http() as http:
            together.wait()
            path = "/storages/past/branches/shop/actions"
            return http.post(path, json={"action": "restore", "to": moment})

    with ThreadPoolExecutor(len(moments)) as threads:
        return list(threads.map(ask, moments))


def test_of_two_restores_at_once_one_is_done_and_no_row_is_lost(past: Stack) -> None:
    url = filled(past, "shop")
    moments = {}
    for rows in (ROWS, ROWS + 10):
        past.sql("shop", f"insert into orders select generate_series({ROWS + 1}, {rows})")
        moments[past.sql("shop", "select pg_current_wal_flush_lsn()::text")[0][0]] = rows
    writer = Writer(url)
    writer.wait_for_more()
    answers = restored_at_once(past, *moments)
    writer.stop()
    assert sorted(one.status_code for one in answers) == [200, 409], [one.text for one in answers]
    [(won, at)] = [(one, moment) for one, moment in zip(answers, moments, strict=True) if one.is_success]
    [lost] = [one for one in answers if not one.is_success]
    assert lost.json()["code"] == "busy"
    assert count(url) == moments[at]
    past.cli("pg", "create", "look", "-s", "past", "--branch", won.json()["kept"])
    past.cli("pg", "start", "look")
    assert past.sql("look", "select count(*) from orders") == [(ROWS + 10,)]
    assert writer.lost(partial(past.sql, "look")) == set()

    first, second = restored_at_once(past, at, at)  # the same words are one restore
    assert (first.status_code, first.json()) == (200, second.json())
    assert count(url) == moments[at]
    names = {one["name"] for one in past.json("branch", "list", "past")}
    assert names == {"main", "shop", won.json()["kept"], first.json()["kept"]}
    assert past.misplaced() == []


def test_a_data_directory_that_was_discarded_is_made_anew_with_all_rows(past: Stack) -> None:
    url = filled(past, "shop")
    assert past.run("doctor", "--discard-cache", "shop").code == 4
    past.container("pg_shop").remove(force=True)
    past.cli("doctor", "--discard-cache", "shop")
    past.cli("pg", "start", "shop")
    assert opens(url)
    assert count(url) == ROWS
