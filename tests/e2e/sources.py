"""Servers to import from: a Postgres 17 in a container of our image, a Postgres 15 of Debian's, each on a
port of localhost and gone at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import psycopg

from neon_compose.engine.images import tags
from neon_compose.wait import Deadline, until

PASSWORD = "src:p@ss\\w0rd"
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
_BIN = "/usr/lib/postgresql/17/bin"
_SERVER = f"""
{_BIN}/initdb -D /tmp/pg -U boss --pwfile=/tmp/password -A scram-sha-256 --locale=en_US.UTF-8 >/dev/null
mkdir /tmp/space
cat >> /tmp/pg/pg_hba.conf <<END
host all all all scram-sha-256
host replication all all scram-sha-256
END
exec {_BIN}/postgres -D /tmp/pg -c listen_addresses='*' -c unix_socket_directories=/tmp \\
  -c wal_level=logical -c max_prepared_transactions=5
"""


@dataclass(frozen=True)
class Source:
    port: int
    user: str
    container: Any = None

    def url(self, database: str, user: str | None = None) -> str:
        return f"postgres://{user or self.user}@localhost:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def sql(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        with self.connect(database) as session:
            for statement in statements:
                cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def await_ready(self) -> None:
        def ready() -> bool:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        until("the source", ready, Deadline.after(60))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def postgres_17() -> Iterator[Source]:
    """A fresh server in a container; its data is in memory."""
    port = free_port()
    client = docker.from_env()
    container = client.containers.run(
        tags(("postgres",))["postgres"],
        ["sh", "-c", f"cat > /tmp/password <<'END'\n{PASSWORD}\nEND\n{_SERVER}"],
        detach=True,
        tmpfs={"/tmp": "size=512m,mode=1777"},
        ports={"5432/tcp": ("127.0.0.1", port)},
    )
    try:
        source = Source(port, "boss", container)
        source.await_ready()
        yield source
    finally:
        container.remove(force=True, v=True)
        client.close()


@contextmanager
def postgres_15() -> Iterator[Source]:
    """A fresh server of Debian's package on this machine itself, as user postgres (or us)."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="neon-source-"))
    as_user = {"user": "postgres"} if os.geteuid() == 0 else {}
    if as_user:
        shutil.chown(folder, "postgres")
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o644)

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, capture_output=True, **as_user)  # type: ignore[call-overload]

    data = str(folder / "data")
    initdb = [str(DEBIAN_15 / "initdb"), "-D", data, "-U", "boss", "-A", "scram-sha-256"]
    pg_ctl = [str(DEBIAN_15 / "pg_ctl"), "-D", data, "-w"]
    try:
        run(*initdb, f"--pwfile={folder / 'password'}", "--locale=C.UTF-8")
        options = f"-p {port} -k {folder} -c fsync=off"
        run(*pg_ctl, "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield Source(port, "boss")
        finally:
            run(*pg_ctl, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
