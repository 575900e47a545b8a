"""Up, down, stop, start, destroy: what is kept and what goes away."""

from __future__ import annotations

import time

import psycopg

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack


def connects(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=5) as session:
        return session.execute("select 1").fetchone() == (1,)


def test_up_prints_a_url_that_opens(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    assert connects(stack.up())


def test_up_again_changes_nothing(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    url = stack.up()
    before = {c.id for c in stack.containers()}
    assert stack.up() == url
    assert {c.id for c in stack.containers()} == before


def test_down_and_up_bring_back_data_port_and_password(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    url = stack.up()
    stack.sql("main", "create table kept as select generate_series(1, 1000) n")
    stack.cli("down")
    assert stack.containers() == []
    assert stack.up() == url
    assert stack.sql("main", "select count(*) from kept") == [(1000,)]


def test_stopping_the_controller_stops_the_whole_stack_and_starting_it_brings_all_back(
    make_stack: StackMaker,
) -> None:
    stack = make_stack(Stack.SMALL)
    url = stack.up()
    stack.sql("main", "create table kept (n int)")
    controller = stack.container("controller")
    controller.stop(timeout=120)
    assert [c.name for c in stack.containers() if c.status == "running"] == []
    assert "database system is shut down" in stack.container("pg_main").logs().decode()
    controller.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert connects(url)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    assert stack.sql("main", "select count(*) from kept") == [(0,)]


def test_killing_the_controller_stops_nothing(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    url = stack.up()
    stack.container("controller").kill("SIGKILL")
    assert connects(url)
    assert stack.up() == url
    assert stack.json("pg", "show", "main")["state"] == "running"


def test_stop_and_start_keep_data_port_and_password(shared: Stack) -> None:
    shared.cli("pg", "create", "-n", "keeper", "-s", "main", "--from", "main@init")
    shared.cli("pg", "start", "-n", "keeper")
    url = shared.url("keeper")
    shared.sql("keeper", "create table kept as select 42 n")
    shared.cli("pg", "stop", "-n", "keeper")
    assert shared.json("pg", "show", "keeper")["state"] == "stopped"
    shared.cli("pg", "start", "-n", "keeper")
    assert shared.url("keeper") == url
    assert shared.sql("keeper", "select n from kept") == [(42,)]
    shared.cli("pg", "stop", "-n", "keeper")
    shared.cli("pg", "destroy", "-n", "keeper", "--discard-writes")
    shared.cli("branch", "delete", "main/keeper")
    assert "keeper" not in [pg["name"] for pg in shared.json("pg", "list")]


def test_a_pg_that_sql_has_locked_us_out_of_opens_with_its_password_and_so_do_its_branches(
    shared: Stack,
) -> None:
    shared.cli("branch", "create", "locked", "--from", "main@init")
    shared.sql("locked", "create database other")
    with psycopg.connect(shared.url("locked").replace("/postgres", "/other"), autocommit=True) as session:
        session.execute("alter role neon_admin password 'x' valid until '2020-01-01'")
        session.execute("drop database postgres with (force)")
    shared.cli("branch", "create", "locked-too", "--from", "locked")
    shared.cli("pg", "restart", "locked")
    for pg in ("locked", "locked-too"):
        assert shared.sql(pg, "select count(*) from pg_database") == [(4,)]
        assert connects(shared.url(pg))
    shared.sql("locked", "alter role neon_admin nologin")
    shared.cli("pg", "stop", "locked")
    refused = shared.run("pg", "start", "locked")
    assert (refused.code, "not permitted to log in" in refused.err) == (5, True)
    assert shared.json("pg", "show", "locked")["state"] != "running"
    for pg in ("locked-too", "locked"):
        shared.run("pg", "stop", pg)
        shared.cli("pg", "destroy", pg)
        shared.cli("branch", "delete", f"main/{pg}")


def test_a_pg_whose_writes_are_nowhere_else_is_destroyed_only_when_told_to(shared: Stack) -> None:
    local = ("-s", "main", "--from", "main@init", "--durability", "local")
    shared.cli("pg", "create", "writer", *local)
    shared.cli("pg", "start", "writer")
    shared.sql("writer", "create table precious (n int)")
    shared.cli("pg", "stop", "-n", "writer")
    refused = shared.run("pg", "destroy", "-n", "writer")
    assert refused.code == 4
    assert "--discard-writes" in refused.err
    shared.cli("pg", "start", "-n", "writer")
    assert shared.sql("writer", "select count(*) from precious") == [(0,)]
    shared.cli("pg", "stop", "-n", "writer")
    shared.cli("pg", "destroy", "-n", "writer", "--discard-writes")
    shared.cli("branch", "delete", "main/writer")


def test_a_branch_without_writes_is_destroyed_without_asking(shared: Stack) -> None:
    shared.cli("branch", "create", "idle", "--from", "main@init")
    assert shared.sql("idle", "select 1") == [(1,)]
    shared.cli("pg", "stop", "-n", "idle")
    shared.cli("pg", "destroy", "-n", "idle")
    shared.cli("branch", "delete", "main/idle")
