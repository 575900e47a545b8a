"""The floor: upstream Postgres in a container, on a data directory that already exists.

The same image of Postgres's programs, the same settings (read from a compute of ours), data checksums
and WAL segments of the same size, the role's password checked by SCRAM over the same kind of port.
The data directory is on a Docker volume; the port is published on 127.0.0.1 over the default bridge.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
from docker.errors import NotFound

from tests.bench.datasets import Dataset
from tests.bench.engine import Binds, Engine, Failed, free_port, stream_to_file

PORT = 5432  # inside
PASSWORD = "floor"
ROLE = "neon_admin"
_POLL_S = 0.003
_LONGEST_S = 120.0

# Where things are, who listens and what is logged differ by nature; the rest is taken over.
_NOT_TAKEN = {
    *("data_directory", "config_file", "hba_file", "ident_file", "external_pid_file", "port"),
    *("listen_addresses", "unix_socket_directories", "unix_socket_permissions", "unix_socket_group"),
    *("cluster_name", "application_name", "synchronous_standby_names", "lc_messages", "password_encryption"),
    *("client_encoding", "session_authorization", "is_superuser", "TimeZone"),
}
_CONFIGURED = (
    "select name, current_setting(name) from pg_settings "
    "where source in ('configuration file', 'command line') and context <> 'internal'"
)


def same_settings(conninfo: str) -> dict[str, str]:
    """What a compute of ours was told, without what only says where it is."""
    with psycopg.connect(conninfo, autocommit=True) as session:
        rows = session.execute(_CONFIGURED).fetchall()
    return {name: value for name, value in rows if name not in _NOT_TAKEN and "." not in name}


_INIT = f"""
mkdir -p /v/run; export PGHOST=/v/run PGUSER={ROLE} PGPASSWORD={PASSWORD}
printf {PASSWORD} > /tmp/password
initdb -D /v/data -k --no-sync --wal-segsize=4 -E UTF8 --locale=C.UTF-8 -A scram-sha-256 \
    -U {ROLE} --pwfile=/tmp/password > /dev/null
echo 'host all all all scram-sha-256' >> /v/data/pg_hba.conf
pg_ctl -D /v/data -l /v/log -w -o "-k /v/run -c fsync=off -c maintenance_work_mem=256MB" start > /dev/null
SCRIPT
psql -qc 'vacuum (freeze, analyze)' postgres; psql -qc checkpoint postgres
pg_ctl -D /v/data -w stop > /dev/null; sync
"""


def make_data(engine: Engine, dataset: Dataset, volume: str) -> None:
    """Fill an empty volume with a cleanly stopped data directory in /v/data."""
    engine.shell(
        "chown $(id -u USER):$(id -g USER) /v".replace("USER", engine.user), {volume: "/v"}, user="0"
    )
    engine.shell(_INIT.replace("SCRIPT", dataset.script), {volume: "/v"}, shm_size="1g")


def copy_data(engine: Engine, source: str, target: str) -> None:
    """A second volume with the same content, in the page cache and on disk."""
    engine.shell("cp -a /from/. /to/ && sync -f /to", {source: "/from", target: "/to"}, user="0")


class Vanilla:
    """One server that can be started again and again on its volume."""

    def __init__(self, engine: Engine, volume: str, settings: Mapping[str, str]) -> None:
        self.volume = volume
        self.port = free_port()
        self._engine = engine
        self._settings = settings
        self._name = ""
        self._count = 0

    @property
    def container(self) -> str:
        return self._name

    @property
    def conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={ROLE} password={PASSWORD} dbname=postgres"

    @property
    def direct(self) -> str:
        address = self._engine.api.inspect_container(self._name)["NetworkSettings"]["IPAddress"]
        return f"host={address} port={PORT} user={ROLE} password={PASSWORD} dbname=postgres"

    @property
    def socket(self) -> str:
        """For a client that has `socket_binds`."""
        return f"host=/v/run port={PORT} user={ROLE} password={PASSWORD} dbname=postgres"

    @property
    def socket_binds(self) -> Binds:
        return {self.volume: "/v"}

    def start(self) -> psycopg.Connection:
        """Create and start the container; gives the first session that answered `SELECT 1`."""
        api = self._engine.api
        self._count += 1
        self._name = f"{self._engine.run_name}_floor_{self.volume[-8:]}_{self._count}"
        options = [x for name, value in self._settings.items() for x in ("-c", f"{name}={value}")]
        host = api.create_host_config(
            binds=[f"{self.volume}:/v:rw"],
            port_bindings={PORT: ("127.0.0.1", self.port)},
            shm_size=1 << 30,
            init=True,
            security_opt=["no-new-privileges"],
        )
        api.create_container(
            self._engine.image,
            command=[
                *("/usr/lib/postgresql/17/bin/postgres", "-D", "/v/data", "-k", "/v/run"),
                *("-p", str(PORT), "-c", "listen_addresses=*", *options),
            ],
            name=self._name,
            user=self._engine.user,
            entrypoint=[],
            labels=self._engine.labels,
            ports=[PORT],
            stop_signal="SIGINT",
            host_config=host,
        )
        api.start(self._name)
        return self._first_answer()

    def _first_answer(self) -> psycopg.Connection:
        give_up = time.monotonic() + _LONGEST_S
        while time.monotonic() < give_up:
            with suppress(psycopg.OperationalError):
                session = psycopg.connect(self.conninfo, autocommit=True, connect_timeout=2)
                session.execute("select 1").fetchone()
                return session
            time.sleep(_POLL_S)
        raise Failed(self._engine.api.logs(self._name, tail=30).decode(errors="replace"))

    def stop(self) -> None:
        """A clean shutdown, and the container is gone."""
        if not self._name:
            return
        with suppress(NotFound):
            self._engine.api.stop(self._name, timeout=60)
            self._engine.api.remove_container(self._name, v=False)
        self._name = ""

    def dump(self, dst: Path) -> None:
        """`pg_dump -Fc` of the running server."""
        container = self._engine.docker.containers.get(self._name)
        command = [
            "/usr/lib/postgresql/17/bin/pg_dump",
            "-Fc",
            "-Z",
            "zstd:1",
            "-h",
            "/v/run",
            "-U",
            ROLE,
            "postgres",
        ]
        stream_to_file(container, command, {"PGPASSWORD": PASSWORD}, dst)
