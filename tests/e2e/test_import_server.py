"""A running server comes in: all of it as a base backup, or one database as a dump; or nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from neon_compose.wait import Deadline, until
from tests.e2e.sources import DEBIAN_15, PASSWORD, Source, postgres_15, postgres_17
from tests.e2e.stack import PROGRAM, Stack

ROWS = 3000
CLUSTER = (
    "create database shop",
    "create role clerk login password 'clerk'",
    "create tablespace fast location '/tmp/space'",
    "create database elsewhere tablespace fast",
)
ELSEWHERE = (
    "create table t as select generate_series(1, 10) g",
    "create table d tablespace pg_default as select 7 x",
)
SHOP = (
    f"create table orders as select n id, n * 2 total, 'note ' || n note from generate_series(1, {ROWS}) n",
    "create index on orders (note) tablespace fast",
    "create table fast_one (id int primary key using index tablespace fast) tablespace fast",
    "insert into fast_one values (1), (2)",
    "create unlogged table fleeting as select 1 n",
    "alter table orders owner to clerk",
    "create publication p for all tables",
    "create subscription s connection 'host=127.0.0.1 port=1 dbname=x' publication p with (connect = false)",
    "select pg_create_logical_replication_slot('kept', 'pgoutput')",
)
NOT_OURS = "where slot_name !~ '^b[0-9a-f]{12}_t'"  # safekeepers have slots on every pg


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    with postgres_17() as server:
        for statement in CLUSTER:
            server.sql("postgres", statement)
        server.sql("elsewhere", *ELSEWHERE)
        server.sql("shop", *SHOP)
        yield server


@pytest.fixture
def name(shared: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """A storage's name; the storage, and a pg of that name, go at the end."""
    made = f"s{abs(hash(request.node.name)) % 10**8}"
    yield made
    if shared.run("pg", "stop", made).code == 0:
        shared.cli("pg", "destroy", made, "--discard-writes")
    shared.run("storage", "detach", made, "--purge")
    # What a client that left had begun is undone by the controller, whenever it hears of it.
    until("nothing to be left", lambda: leftovers(shared, made) == [], Deadline.after(60))


def leftovers(stack: Stack, storage: str) -> list[str]:
    """What of a storage, or of a fetch, is on the engine."""
    return [one for one in stack.leftovers() if one.endswith(f"_{storage}") or "_probe_" in one]


def attach(stack: Stack, name: str, url: str) -> str:
    ran = stack.run("storage", "attach", name, "--import", url)
    assert ran.code == 0, ran.err
    return ran.err


def opened(stack: Stack, name: str) -> None:
    stack.cli("branch", "create", name, "--from", f"{name}@import")


@contextmanager
def importing(
    stack: Stack, name: str, source: Source, password: str = "clerk"
) -> Iterator[subprocess.Popen[str]]:
    """The CLI in the middle of an import: pg_dump waits for a lock that is held here."""
    env = os.environ | {"XDG_STATE_HOME": str(stack.folder / "state"), "PGPASSWORD": password}
    with closing(source.connect("shop")) as holder:  # the lock ends with the connection
        holder.execute("begin; lock table orders in access exclusive mode")
        with subprocess.Popen(
            [PROGRAM, "storage", "attach", name, "--import", source.url("shop", "clerk")],
            cwd=stack.folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            until("pg_dump to wait", lambda: _waits(source), Deadline.after(60))
            yield process


def _waits(source: Source) -> bool:
    query = "select count(*) from pg_stat_activity where usename = 'clerk' and wait_event_type = 'Lock'"
    return source.sql("postgres", query) == [(1,)]


def test_a_whole_server_comes_in_as_a_base_backup(
    shared: Stack, source: Source, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    said = attach(shared, name, source.url("shop"))
    assert "subscription s of database shop is left out" in said
    assert "1 unlogged tables are empty" in said
    opened(shared, name)
    assert shared.sql(name, "select current_database(), count(*), sum(total) from orders") == [
        ("shop", ROWS, ROWS * (ROWS + 1))
    ]
    assert shared.sql(name, "select count(*) from fast_one") == [(2,)]
    assert shared.sql(name, "select count(*) from fleeting") == [(0,)]
    assert shared.sql(name, "select spcname from pg_tablespace order by 1") == [
        ("pg_default",),
        ("pg_global",),
    ]
    assert shared.sql(name, "select count(*) from pg_subscription") == [(0,)]
    assert shared.sql(name, f"select count(*) from pg_replication_slots {NOT_OURS}") == [(0,)]
    assert shared.sql(name, "select rolcanlogin from pg_roles where rolname = 'clerk'") == [(True,)]
    elsewhere = shared.cli(
        "psql", name, "--", "-d", "elsewhere", "-Atc", "select count(*), (select x from d) from t"
    )
    assert elsewhere.strip() == "10|7"
    assert source.sql("postgres", "select slot_name from pg_replication_slots") == [("kept",)]


def test_a_role_that_may_not_replicate_gets_a_dump_of_its_database(
    shared: Stack, source: Source, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "clerk")
    source.sql("shop", "grant select on all tables in schema public to clerk")
    said = attach(shared, name, source.url("shop", "clerk"))
    assert "role clerk may not replicate: database shop comes by pg_dump" in said
    opened(shared, name)
    assert shared.sql(name, "select current_database(), count(*) from orders") == [("shop", ROWS)]


def test_a_server_whose_pg_hba_forbids_replication_gives_a_dump(
    shared: Stack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres_17() as strict:
        strict.container.exec_run(["sed", "-i", "/replication/d", "/tmp/pg/pg_hba.conf"])
        strict.sql("postgres", "create table t as select 42 n", "select pg_reload_conf()")
        said = attach(shared, name, strict.url("postgres"))
    assert "no pg_hba.conf entry for replication" in said
    opened(shared, name)
    assert shared.sql(name, "select n from t") == [(42,)]


@pytest.mark.skipif(
    not DEBIAN_15.is_dir() and os.environ.get("REQUIRE_DOCKER") != "1",
    reason="postgresql-15 is not installed",
)
def test_an_older_server_of_this_machine_comes_in_by_a_dump(
    shared: Stack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with postgres_15() as old:
        old.sql("postgres", 'create database "We ird"')
        old.sql("We ird", "create table t as select g, 'n' || g note from generate_series(1, 500) g")
        said = attach(shared, name, old.url("We%20ird"))
    assert "the source is Postgres 15" in said
    opened(shared, name)
    assert shared.sql(name, "select current_database(), count(*) from t") == [("We ird", 500)]


def test_a_branch_of_ours_can_be_imported_from(shared: Stack, name: str) -> None:
    shared.cli("branch", "create", name, "--from", "main@init")
    shared.sql(name, "create table mine as select 5 n")
    attach(shared, name, shared.url(name))
    shared.cli("pg", "stop", name)
    shared.cli("pg", "destroy", name, "--discard-writes")
    shared.cli("branch", "delete", f"main/{name}")
    opened(shared, name)
    assert shared.sql(name, "select n from mine") == [(5,)]


@pytest.mark.parametrize(
    ("where", "password", "code", "said"),
    [
        ("postgres://boss@localhost:{port}/shop", "wrong", 2, "password authentication failed"),
        ("postgres://boss@localhost:{port}/shop", "", 2, "wants a password"),
        ("postgres://boss@localhost:{port}/nothere", PASSWORD, 3, "does not exist"),
        ("postgres://boss@localhost:1/shop", PASSWORD, 5, "machine that the Docker engine runs on"),
        ("postgres://boss@no-such-host.invalid/shop", PASSWORD, 5, "does not answer"),
        ("postgres:///shop?host=/no/such/folder", PASSWORD, 3, "Unix socket"),
        ("service=nowhere", PASSWORD, 2, 'definition of service "nowhere" not found'),
    ],
)
def test_a_source_that_can_not_be_read_leaves_nothing(
    shared: Stack,
    source: Source,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    password: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("PGPASSWORD", password)
    ran = shared.run("storage", "attach", name, "--import", where.format(port=source.port))
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert "/work/" not in ran.err  # paths inside our containers mean nothing to people
    assert leftovers(shared, name) == []


def test_ctrl_c_ends_an_import_and_leaves_nothing(shared: Stack, source: Source, name: str) -> None:
    with importing(shared, name, source) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        until("nothing to be left", lambda: leftovers(shared, name) == [], Deadline.after(60))


def test_a_source_that_dies_half_way_leaves_nothing(shared: Stack, name: str) -> None:
    with postgres_17() as dying:
        dying.sql("postgres", "create role clerk login password 'clerk'", "create database shop owner clerk")
        dying.sql("shop", "create table orders as select 1 n", "alter table orders owner to clerk")
        with importing(shared, name, dying) as process:
            dying.container.kill()
            _, said = process.communicate(timeout=60)
            assert process.returncode == 5, said
            assert "error: the source could not be read" in said
    assert leftovers(shared, name) == []


def test_no_container_of_an_import_shows_the_password(shared: Stack, source: Source, name: str) -> None:
    secret = "clerk-s3cret-word"
    source.sql("postgres", f"alter role clerk password '{secret}'")
    try:
        with importing(shared, name, source, secret) as process:
            _fail_if_shown(shared, secret)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
    finally:
        source.sql("postgres", "alter role clerk password 'clerk'")


def _fail_if_shown(stack: Stack, secret: str) -> None:
    containers = stack.containers()
    assert any("_probe_" in one.name for one in containers)
    for one in containers:
        assert secret not in str(one.attrs), one.name
        assert secret not in str(one.top()), one.name
        assert secret.encode() not in one.logs(), one.name
