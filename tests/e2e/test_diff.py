"""What differs between two moments of an imported database."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.stack import Stack

ROWS = 5000
DUMP = f"""
create table orders (id int primary key, total int);
insert into orders select g, g from generate_series(1, {ROWS}) g;
create table customers as select g as id, repeat('x', 500) as name from generate_series(1, {ROWS}) g;
create table gone as select 1 as id;
"""
PAGE = 8192


@pytest.fixture
def shop(shared: Stack) -> Iterator[Stack]:
    """A storage `diffs` with an import, and a pg on a branch of it; both go."""
    (shared.folder / "diffs.sql").write_text(DUMP)
    shared.cli("storage", "attach", "diffs", "--import", "diffs.sql")
    shared.cli("branch", "create", "work", "--from", "diffs@import")
    yield shared
    shared.cli("pg", "stop", "work")
    shared.cli("pg", "destroy", "work", "--discard-writes")
    shared.cli("storage", "detach", "diffs", "--purge")


def tables(found: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in found["databases"][-1]["tables"]}


def pages(stack: Stack, table: str) -> int:
    """Of the table, its TOAST table, and the index of that."""
    ((size,),) = stack.sql(
        "work",
        f"""select sum(pg_relation_size(part))
            from pg_class c left join pg_index on indrelid = c.reltoastrelid,
                 unnest(array[c.oid, c.reltoastrelid, indexrelid]) part
            where c.oid = '{table}'::regclass""",
    )
    return int(size) // PAGE


def test_a_diff_tells_ddl_and_pages_and_leaves_nothing_even_if_it_is_killed(shop: Stack) -> None:
    for statement in (
        "alter table orders add note text",
        "update orders set total = 0 where id = 1",
        "create table late as select 1 as id",
        "drop table gone",
        "create database closed allow_connections false",
        # Where nobody is to run what a user wrote: in the servers of a diff.
        """create function keep_out() returns event_trigger language plpgsql as
           $$begin if current_setting('autovacuum') = 'off' then raise 'out'; end if; end$$""",
        "create event trigger ev on login execute function keep_out()",
    ):
        shop.sql("work", statement)
    shop.cli("snapshot", "create", "after", "--from", "diffs/work")
    shop.sql("work", "vacuum full customers")

    found = shop.json("snapshot", "diff", "diffs/import", "after")
    closed, database = found["databases"]
    assert (closed["name"], closed["change"]) == ("closed", "added")
    lines = database["ddl"].splitlines()
    assert {"+    note text", "+CREATE TABLE public.late (", "-CREATE TABLE public.gone ("} <= {*lines}
    changed = {name: one["change"] for name, one in tables(found).items()}
    assert changed == {"public.orders": "changed", "public.late": "added", "public.gone": "removed"}
    orders = tables(found)["public.orders"]["pages"]
    assert orders["after"] == pages(shop, "orders")
    assert (
        1 <= orders["changed"] <= 2 + orders["after"] - orders["before"]
    )  # the old row's page and the new one's

    assert shop.run("branch", "diff", "diffs/work@after", "work", "--exit-code").code == 1
    later = shop.json("branch", "diff", "diffs/work@after", "work")
    assert [one["name"] for one in later["databases"]] == ["postgres"]
    rewritten = tables(later)
    assert rewritten["public.customers"]["change"] == "rewritten"
    assert rewritten["public.customers"]["pages"]["changed"] == pages(shop, "customers")
    assert shop.run("branch", "diff", "diffs/work@after", "diffs/work@after", "--exit-code").code == 0
    assert shop.run("branch", "diff", "diffs/work", "main/main").code == 2

    _kill_in_a_diff(shop)
    assert shop.json("snapshot", "diff", "diffs/import", "after") == found
    assert shop.misplaced() == []


def _kill_in_a_diff(stack: Stack) -> None:
    """kill -9 of the pageserver while a server of the diff's own runs in it."""
    pageserver = stack.container("storage_diffs")

    def begun() -> bool:
        seen = pageserver.exec_run(["sh", "-c", "ls /work/scratch/diff-*/before/data/postmaster.pid"])
        return bool(seen.exit_code == 0)

    codes: list[int] = []
    words = ("snapshot", "diff", "diffs/import", "after")
    running = threading.Thread(target=lambda: codes.append(stack.run(*words).code))
    running.start()
    stack.wait_until(begun)
    os.kill(pageserver.attrs["State"]["Pid"], signal.SIGKILL)
    running.join(60)
    assert codes == [5]
    stack.up()
