"""What a superuser can try from inside Postgres to get past the copy-on-write layer."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.e2e.stack import Stack

PG = "breaker"
Session = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def breaker(shared: Stack) -> Iterator[str]:
    """A pg on a branch of its own; its URL."""
    shared.cli("branch", "create", PG, "--from", "main@init")
    url = shared.url(PG)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("create extension pageinspect; create extension pg_walinspect")
    yield url
    shared.cli("pg", "stop", PG)
    shared.cli("pg", "destroy", PG, "--discard-writes")
    shared.cli("branch", "delete", f"main/{PG}")


@pytest.fixture
def session(breaker: str) -> Iterator[Session]:
    with psycopg.connect(breaker, autocommit=True) as connection:
        yield connection


def value(session: Session, sql: str) -> object:
    row = session.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("location", ["/tmp", ""], ids=["linked", "in place"])
def test_a_tablespace_fails_before_any_wal_tells_of_it(session: Session, location: str) -> None:
    session.execute("set allow_in_place_tablespaces = on")
    before = value(session, "select pg_current_wal_insert_lsn()")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(f"create tablespace spaced location '{location}'".encode())
    session.execute("drop table if exists after")
    session.execute("create table after ()")
    told = f"pg_get_wal_records_info('{before}', pg_current_wal_flush_lsn())"
    assert value(session, f"select count(*) > 0 from {told}")
    assert value(session, f"select count(*) from {told} where resource_manager = 'Tablespace'") == 0
    assert value(session, "select count(*) from pg_tablespace") == 2


def test_a_program_that_postgres_starts_runs_without_the_layer(session: Session) -> None:
    session.execute("create temp table said (line text)")
    session.execute("copy said from program 'env'")
    assert value(session, "select count(*) > 3 from said")
    assert value(session, "select count(*) from said where line ~ 'PRELOAD|NEON'") == 0


def test_a_program_sees_the_hollow_file_where_postgres_sees_the_page(session: Session) -> None:
    path = value(session, "select pg_relation_filepath('pg_proc')")
    session.execute("create temp table seen (bytes int)")
    session.execute(f"copy seen from program 'tail -c 8192 {path} | tr -d \"\\000\" | wc -c'".encode())
    assert value(session, "select bytes from seen") == 0
    last = "(pg_relation_size('pg_proc') / 8192 - 1)::int"
    assert value(session, f"select lower > 24 from page_header(get_raw_page('pg_proc', {last}))")


def test_a_stream_on_a_relation_file_is_refused_and_one_on_pg_control_reads_it(session: Session) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="Operation not permitted"):
        session.execute("select pg_read_binary_file(pg_relation_filepath('pg_proc'), 0, 10)")
    assert value(session, "select length(pg_read_binary_file('global/pg_control'))") == 8192


def test_a_server_side_copy_does_not_write_over_a_relation_file(session: Session) -> None:
    path = value(session, "select pg_relation_filepath('pg_proc')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="Operation not permitted"):
        session.execute(f"copy (select 1) to '/neon/pg/data/{path}'".encode())
    assert value(session, "select count(*) > 3000 from pg_proc")


def test_what_postgres_reads_by_descriptor_is_the_page_and_not_the_hole(session: Session) -> None:
    file = "(select lo_import(pg_relation_filepath('pg_ts_dict')) as loid)"
    session.execute(f"create temp table imported as select loid from {file} f".encode())
    same = "select lo_get(loid, 0, 8192) = get_raw_page('pg_ts_dict', 0) from imported"
    assert value(session, same)


def test_alter_system_does_not_undo_what_crash_safety_rests_on(shared: Stack, breaker: str) -> None:
    asked = {"fsync": "off", "full_page_writes": "off", "debug_io_direct": "data", "wal_level": "minimal"}
    with psycopg.connect(breaker, autocommit=True) as session:
        for name, wanted in asked.items():
            session.execute(f"alter system set {name} = '{wanted}'".encode())
    shared.cli("pg", "restart", PG)
    with psycopg.connect(breaker, autocommit=True) as session:
        kept = {name: value(session, f"show {name}") for name in asked}
    assert kept == {"fsync": "on", "full_page_writes": "on", "debug_io_direct": "", "wal_level": "replica"}


def test_a_second_postgres_on_the_same_data_dies_and_the_first_goes_on(shared: Stack, breaker: str) -> None:
    first = shared.container(f"pg_{PG}")
    done = first.exec_run(first.attrs["Config"]["Cmd"])
    assert done.exit_code == 78
    assert b"in use by another postmaster" in done.output
    with psycopg.connect(breaker) as session:
        assert value(session, "select 1") == 1


@pytest.mark.parametrize("program", ["pg_controldata", "pg_resetwal -n", "pg_checksums --check"])
def test_upstreams_offline_tools_find_no_cluster(shared: Stack, breaker: str, program: str) -> None:
    name, *options = program.split()
    command = [f"/usr/lib/postgresql/17/bin/{name}", *options, "/neon/pg/data"]
    done = shared.container(f"pg_{PG}").exec_run(command)
    assert done.exit_code != 0, done.output
    with psycopg.connect(breaker) as session:
        assert value(session, "select 1") == 1
