"""The main job on real input: a database made by somebody else is imported, branched and queried."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.e2e.stack import Stack


@pytest.fixture(scope="module")
def zabbix(shared: Stack, zabbix_sql: Path) -> Iterator[Stack]:
    """The shared stack with the storage and running pg `zabbix`."""
    shared.cli("storage", "attach", "-n", "zabbix", "--type", "native", "--import", str(zabbix_sql))
    shared.cli("pg", "create", "-n", "zabbix", "-s", "zabbix")
    shared.cli("pg", "start", "-n", "zabbix")
    yield shared
    for pg in shared.json("pg", "list"):
        if pg["storage_name"] == "zabbix":
            shared.cli("pg", "stop", "-n", pg["name"])
            shared.cli("pg", "destroy", "-n", pg["name"], "--discard-writes")
    shared.cli("storage", "detach", "-n", "zabbix", "--purge")


@pytest.fixture
def branch(zabbix: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh branch of the import, with a running pg of the same name."""
    name = f"b{abs(hash(request.node.name)) % 10**8}"
    zabbix.cli("branch", "create", name, "--from", "zabbix@import")
    yield name
    zabbix.run("pg", "stop", "-n", name)
    zabbix.cli("pg", "destroy", "-n", name, "--discard-writes")
    zabbix.cli("branch", "delete", f"zabbix/{name}")


def dump(stack: Stack, pg: str) -> str:
    """`pg_dump` of upstream, run in the compute's container, without the random restrict key."""
    command = [
        "pg_dump",
        "-U",
        "neon_admin",
        "-h",
        "/neon/pg/run",
        "-p",
        stack.url(pg).rsplit(":", 1)[1].split("/")[0],
    ]
    password = stack.url(pg).split(":")[2].split("@")[0]
    done = stack.container(f"pg_{pg}").exec_run([*command, "postgres"], environment={"PGPASSWORD": password})
    assert done.exit_code == 0, done.output[-2000:]
    text: str = done.output.decode()
    return "\n".join(x for x in text.splitlines() if not x.startswith(("\\restrict", "\\unrestrict")))


def assert_amcheck_clean(stack: Stack, pg: str) -> None:
    stack.sql(pg, "create extension if not exists amcheck")
    checked = stack.sql(
        pg,
        "select count(bt_index_check(c.oid, true)) from pg_class c join pg_am a on a.oid = c.relam "
        "where a.amname = 'btree' and c.relkind = 'i' and c.relpersistence = 'p'",
    )
    assert checked[0][0] > 300
    broken = stack.sql(
        pg,
        "select c.relname, h.* from pg_class c, lateral verify_heapam(c.oid) h "
        "where c.relkind in ('r', 't', 'm') and c.relpersistence = 'p'",
    )
    assert broken == []


def test_an_import_holds_every_table_and_row_of_its_script(zabbix: Stack, zabbix_sql: Path) -> None:
    text = zabbix_sql.read_text()
    tables = zabbix.sql("zabbix", "select count(*) from pg_tables where schemaname = 'public'")
    assert tables == [(text.count("CREATE TABLE "),)]
    items = zabbix.sql("zabbix", "select count(*) from items")
    assert items == [(text.count("\nINSERT INTO items ") + text.startswith("INSERT INTO items "),)]


def test_a_branch_and_its_parent_dump_equal(zabbix: Stack, branch: str) -> None:
    ours, parents = dump(zabbix, branch), dump(zabbix, "zabbix")
    assert len(ours) > 1_000_000
    assert ours == parents


def test_a_fresh_branch_is_clean_to_amcheck(zabbix: Stack, branch: str) -> None:
    assert_amcheck_clean(zabbix, branch)


def test_a_parent_does_not_notice_what_its_branch_deletes(zabbix: Stack, branch: str) -> None:
    before = zabbix.sql("zabbix", "select count(*) from items")
    zabbix.sql(branch, "truncate items cascade")
    zabbix.sql(branch, "checkpoint")
    assert zabbix.sql(branch, "select count(*) from items") == [(0,)]
    assert zabbix.sql("zabbix", "select count(*) from items") == before


def test_a_branch_takes_little_disk(zabbix: Stack, branch: str) -> None:
    (shown,) = [x for x in zabbix.json("pg", "list") if x["name"] == branch]
    assert shown["own_bytes"] <= 10_000_000


def test_acknowledged_rows_survive_kill_9_under_load(zabbix: Stack, branch: str) -> None:
    zabbix.sql(branch, "create table acked (n bigint primary key, filler text)")
    acked: list[int] = []
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(zabbix.url(branch), autocommit=True) as session:
            n = 0
            while not stop.is_set():
                try:
                    session.execute("insert into acked values (%s, repeat('x', 900))", (n,))
                except psycopg.OperationalError:
                    return
                acked.append(n)
                n += 1

    for _ in range(2):
        zabbix.sql(branch, "delete from acked")
        acked.clear()
        writer = threading.Thread(target=write)
        writer.start()
        while len(acked) < 300 and writer.is_alive():
            time.sleep(0.01)
        zabbix.sql(branch, "update items set name = name || '.' where itemid % 7 = 0")
        zabbix.sql(branch, "checkpoint")
        pid = zabbix.container(f"pg_{branch}").attrs["State"]["Pid"]
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        subprocess.run(["kill", "-9", *children, str(pid)], check=False)
        writer.join(timeout=30)
        stop.set()
        zabbix.cli("pg", "start", "-n", branch)
        stop.clear()
        rows = zabbix.sql(branch, "select n from acked order by n")
        assert set(acked) <= {n for (n,) in rows}
        assert len(rows) <= len(acked) + 1
    assert_amcheck_clean(zabbix, branch)
