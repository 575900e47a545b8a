"""A dump in every format comes in, streamed by the CLI or read from a path on the engine's side."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack

ROWS = 5000
SCHEMA = f"""
create role importer_owner nologin;
create schema app;
create table app.orders (id int primary key, who text, total numeric) ;
insert into app.orders select n, 'customer ' || n, n * 1.5 from generate_series(1, {ROWS}) n;
create index on app.orders (who);
create unlogged table app.fleeting as select 1 n;
create view app.big as select * from app.orders where total > 100;
create sequence app.ticket start 77;
select nextval('app.ticket');
select lo_from_bytea(4711, 'large object'::bytea);
alter table app.orders owner to importer_owner;
"""


@pytest.fixture(scope="module")
def dumps(shared: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The same database as plain, gz, zst, custom, directory and tar dumps, made by upstream's pg_dump."""
    shared.cli("branch", "create", "exporter", "--from", "main@init")
    url = shared.url("exporter")
    shared.cli("psql", "exporter", "--", "-q", "-v", "ON_ERROR_STOP=1", stdin=SCHEMA)
    folder = tmp_path_factory.mktemp("dumps")
    container = shared.container("pg_exporter")
    password, port = url.split(":")[2].split("@")[0], url.rsplit(":", 1)[1].split("/")[0]

    def pg_dump(name: str, *args: str) -> Path:
        dump = f"pg_dump -U neon_admin -h /neon/pg/run -p {port} {' '.join(args)} postgres"
        done = subprocess.run(
            ["docker", "exec", "-e", "PGPASSWORD", container.name, "sh", "-c", dump],
            env=os.environ | {"PGPASSWORD": password},
            capture_output=True,
            check=True,
        )
        path = folder / name
        path.write_bytes(done.stdout)
        return path

    made = {
        "plain": pg_dump("plain.sql"),
        "gz": pg_dump("plain.sql.gz", "-Z", "gzip"),
        "zst": pg_dump("plain.sql.zst", "-Z", "zstd"),
        "custom": pg_dump("custom.dump", "-Fc"),
        "tar": pg_dump("dump.tar", "-Ft"),
    }
    archive = pg_dump("directory.tar", "-Fd", "-f", "/tmp/d", "postgres && tar -C /tmp/d -c . #")
    made["directory"] = folder / "directory"
    made["directory"].mkdir()
    subprocess.run(["tar", "-x", "-f", archive, "-C", made["directory"]], check=True)
    yield made
    shared.cli("pg", "stop", "-n", "exporter")
    shared.cli("pg", "destroy", "-n", "exporter", "--discard-writes")
    shared.cli("branch", "delete", "main/exporter")


@pytest.mark.parametrize("kind", ["plain", "gz", "zst", "custom", "tar", "directory"])
def test_a_dump_comes_in_whole(shared: Stack, dumps: dict[str, Path], kind: str) -> None:
    name = f"in-{kind}"
    shared.cli("storage", "attach", "-n", name, "--type", "native", "--import", str(dumps[kind]))
    shared.cli("branch", "create", name, "--from", f"{name}@import")
    assert shared.sql(name, "select count(*), sum(total) from app.orders") == [
        (ROWS, ROWS * (ROWS + 1) * 3 / 4)
    ]
    assert shared.sql(name, "select tableowner from pg_tables where tablename = 'orders'") == [
        ("importer_owner",)
    ]
    assert shared.sql(name, "select last_value from app.ticket") == [(77,)]
    assert shared.sql(name, "select convert_from(lo_get(4711), 'utf8')") == [("large object",)]
    shared.cli("pg", "stop", name)
    shared.cli("pg", "destroy", name)
    shared.cli("storage", "detach", name, "--purge")


def test_a_dump_on_the_engines_side_comes_in_over_the_api(shared: Stack, dumps: dict[str, Path]) -> None:
    with shared.http() as http:
        body = {"name": "server-side", "type": "native", "import": str(dumps["custom"])}
        answer = http.put("/storages", json=body)
        assert answer.is_success, answer.text
        assert '"result"' in answer.text.splitlines()[-1]
        assert http.get("/storages/server-side").json()["snapshots"] == ["import"]
        missing = http.put("/storages", json=body | {"name": "missing", "import": "/no/such.dump"})
        assert missing.status_code in (404, 422), missing.text
        assert http.get("/storages/missing").status_code == 404
        http.delete("/storages/server-side?purge=true")
