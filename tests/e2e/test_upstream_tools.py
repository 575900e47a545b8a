"""Upstream's own tools find an ordinary cluster: on a branch of a running parent, and on what was restored in
place. They run as they are, in the compute's container, over its socket."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.stack import Stack
from tests.e2e.writer import Writer

STORAGE, PARENT, CHILD = "tools", "shop", "side"
ROWS = 1000
FILL = f"""
create table orders (id int primary key, what text not null, more text);
insert into orders select n, md5(n::text), repeat(md5(n::text), 100) from generate_series(1, {ROWS}) n;
create index on orders (what);
create index on orders using gin (to_tsvector('simple', what));
create sequence counted start 7;
create materialized view seen as select what, count(*) from orders group by what;
select lo_from_bytea(4711, 'a large one'), nextval('counted');
update orders set what = what || 'x' where id % 3 = 0;
delete from orders where id % 7 = 0;
"""
FOUND = "select count(*), sum(id), md5(string_agg(what || coalesce(more, ''), ',' order by id)) from orders"
COPY = "/tmp/copy"  # a tmpfs of the container's
COPY_PORT = "6001"
_AMCHECK = ("--all", "--install-missing", "--heapallindexed", "--parent-check", "--rootdescend")


class Tools:
    """Upstream's programs against a pg, or against a server at another port in its container."""

    def __init__(self, stack: Stack, pg: str) -> None:
        url = urlsplit(stack.url(pg))
        self._container = stack.container(f"pg_{pg}")
        self._environment = {
            "PGPASSWORD": url.password,
            "PGUSER": url.username,
            "PGHOST": "/neon/pg/run",
            "PGPORT": str(url.port),
            "PGDATABASE": "postgres",
        }

    def run(self, *command: str, **environment: str) -> str:
        """What it says on stdout; it must end well."""
        done = self._container.exec_run(
            list(command), environment=self._environment | environment, demux=True
        )
        out, err = ((one or b"").decode() for one in done.output)
        assert done.exit_code == 0, f"{command}: {out[-2000:]}{err[-2000:]}"
        return str(out)

    def dump(self, database: str) -> str:
        return self.run("pg_dump", "--restrict-key=x", database)


@pytest.fixture(scope="module")
def tools(shared: Stack) -> Iterator[Stack]:
    """A branch of a parent that is written to, made while it was; then the parent restored to an earlier
    moment, before it lost its rows."""
    shared.cli("storage", "attach", STORAGE)
    shared.cli("branch", "create", PARENT, "--from", f"{STORAGE}/main")
    shared.sql(PARENT, FILL)
    writer = Writer(shared.url(PARENT), "meanwhile")
    writer.wait_for_more()
    [(whole,)] = shared.sql(PARENT, "select pg_current_wal_flush_lsn()::text")
    shared.cli("branch", "create", CHILD, "--from", PARENT)
    shared.sql(PARENT, "delete from orders")
    writer.stop()
    shared.cli("branch", "restore", PARENT, "--to", whole)
    yield shared
    for pg in (PARENT, CHILD):
        shared.cli("pg", "stop", pg)
        shared.cli("pg", "destroy", pg, "--discard-writes")
    shared.cli("storage", "detach", STORAGE, "--purge")


@pytest.mark.parametrize("pg", [CHILD, PARENT], ids=["branch", "restored"])
def test_a_base_backup_is_verified_and_starts_with_all_rows(tools: Stack, pg: str) -> None:
    there, on = tools.sql(pg, FOUND), Tools(tools, pg)
    assert there[0][0] == ROWS - ROWS // 7
    on.run("pg_basebackup", "-D", COPY, "--checkpoint=fast", "--wal-method=stream")
    try:
        on.run("pg_verifybackup", COPY)
        settings = f"-c port={COPY_PORT} -c unix_socket_directories={COPY} -c listen_addresses="
        on.run("pg_ctl", "-D", COPY, "-w", "-o", settings, "-l", f"{COPY}/log", "start")
        copy = {"PGHOST": COPY, "PGPORT": COPY_PORT}
        found = on.run("psql", "-XAtc", FOUND, **copy)
        assert found.strip() == "|".join(map(str, there[0]))
        assert on.run("pg_amcheck", *_AMCHECK, **copy) == ""
        on.run("pg_ctl", "-D", COPY, "-w", "stop")
    finally:
        on.run("sh", "-c", f"pg_ctl -D {COPY} -m immediate stop || true; rm -rf {COPY}")


@pytest.mark.parametrize("pg", [CHILD, PARENT], ids=["branch", "restored"])
def test_a_dump_restores_to_what_was_dumped(tools: Stack, pg: str) -> None:
    on = Tools(tools, pg)
    before = on.dump("postgres")
    assert "4711" in before  # the large object
    on.run("createdb", "again")
    on.run("sh", "-c", "pg_dump -Fc postgres | pg_restore --exit-on-error -d again")
    assert on.dump("again") == before
    on.run("dropdb", "again")


@pytest.mark.parametrize("pg", [CHILD, PARENT], ids=["branch", "restored"])
def test_amcheck_finds_nothing(tools: Stack, pg: str) -> None:
    on = Tools(tools, pg)
    assert on.run("pg_amcheck", *_AMCHECK) == ""
    on.run("psql", "-XAtc", "drop extension amcheck")
