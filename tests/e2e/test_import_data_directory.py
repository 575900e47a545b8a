"""The data directory of a stopped server comes in, whoever owns it; what isn't a clean stop is refused."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from neon_compose.engine.images import tags
from tests.e2e.stack import Stack

OWNER = 4321
_BIN = "/usr/lib/postgresql/17/bin"
_MAKE = f"""
{_BIN}/initdb -D /d/pg -U boss -A trust --locale=en_US.UTF-8 --wal-segsize=16 >/dev/null &&
{_BIN}/pg_ctl -D /d/pg -o "-k /d -c fsync=off -c listen_addresses=" -l /d/log -w start &&
{_BIN}/psql -h /d -U boss -d postgres -c "create table t as select generate_series(1, 900) g" \\
  -c "select pg_create_physical_replication_slot('kept', true)" &&
{_BIN}/pg_ctl -D /d/pg stop -m fast
"""
NOT_OURS = "where slot_name !~ '^b[0-9a-f]{12}_t'"  # safekeepers have slots on every pg


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A stopped cluster that nobody but its owner, a stranger, may look into."""
    folder = tmp_path / "d"
    folder.mkdir()
    client = docker.from_env()
    subprocess.run(["chown", "10001:10001", folder], check=True)
    client.containers.run(
        tags(("postgres",))["postgres"],
        ["sh", "-c", _MAKE],
        remove=True,
        volumes={str(folder): {"bind": "/d", "mode": "rw"}},
    )
    subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", folder], check=True)
    yield folder / "pg"
    client.close()


def test_a_stopped_servers_data_directory_comes_in(shared: Stack, directory: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    shared.cli("storage", "attach", "from-dir", "--import", str(directory))
    shared.cli("branch", "create", "from-dir", "--from", "from-dir@import")
    assert shared.sql("from-dir", "select count(*) from t") == [(900,)]
    assert shared.sql("from-dir", "show wal_segment_size") == [("4MB",)]
    assert shared.sql("from-dir", "show data_checksums") == [("on",)]
    assert shared.sql("from-dir", f"select count(*) from pg_replication_slots {NOT_OURS}") == [(0,)]
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before
    shared.cli("pg", "stop", "from-dir")
    shared.cli("pg", "destroy", "from-dir", "--discard-writes")
    shared.cli("storage", "detach", "from-dir", "--purge")


@pytest.mark.parametrize(
    ("harm", "code", "said"),
    [
        ("touch {}/postmaster.pid", 4, "in use, or was not shut down cleanly"),
        ("touch {}/backup_label", 4, "in use, or was not shut down cleanly"),
        ("echo 16 > {}/PG_VERSION", 2, "is of Postgres 16"),
        ("ln -s /tmp {}/pg_tblspc/16400", 2, "has parts outside of it"),
        ("mv {0}/pg_wal {0}/../wal && ln -s {0}/../wal {0}/pg_wal", 2, "has parts outside of it"),
        ("dd if=/dev/zero of={}/global/pg_control bs=8192 count=1 2>/dev/null", 4, "does not know"),
    ],
)
def test_a_directory_that_can_not_be_copied_as_it_is_is_refused_and_leaves_nothing(
    shared: Stack, directory: Path, harm: str, code: int, said: str
) -> None:
    subprocess.run(["sh", "-c", harm.format(directory)], check=True)
    ran = shared.run("storage", "attach", "bad-dir", "--import", str(directory))
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert [one for one in shared.leftovers() if "bad-dir" in one or "_probe_" in one] == []


def test_a_data_directory_is_attached_by_importing_it(shared: Stack, directory: Path) -> None:
    ran = shared.run("storage", "attach", "no-dir", "--path", str(directory))
    assert ran.code == 2
    assert "--import" in ran.err
