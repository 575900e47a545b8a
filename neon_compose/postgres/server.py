"""A private Postgres over a scratch data directory.

Owns: `Cluster` (initdb, start, stop, SQL over its socket). Does not do: computes (they run in containers of
their own) and anything durable: initdb doesn't sync.

Invariant: no process outlives the call or context that started it (programs.py).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from neon_compose import wait
from neon_compose.errors import TimedOut, Unavailable
from neon_compose.postgres import conf
from neon_compose.postgres.programs import Watch, WatchPid, ignore, quit_server, run, tail
from neon_compose.postgres.versions import WAL_SEGMENT_MB, Version

ADMIN = "neon_admin"
PORT = 5432  # names the socket file; the scratch server has no TCP port

_START_S = 60.0
_RECOVERY_S = 1800.0  # a start that replays WAL first
_STOP_S = 300.0  # the last checkpoint writes all dirty buffers
_CONNECT_S = 10

# What a data directory brings along that is its server's, not its data's.
_FOREIGN = (
    *("postgresql.auto.conf", "recovery.signal", "standby.signal", "postmaster.pid", "postmaster.opts"),
    *("backup_manifest", "current_logfiles"),
)
_FOREIGN_FOLDERS = ("pg_replslot", "pg_logical/snapshots", "pg_logical/mappings")
# One statement a line. Of the database it is no matter whether it is there already.
_ADOPTION = """\
DO $$ BEGIN IF to_regrole('{admin}') IS NULL THEN CREATE ROLE {admin}; END IF; END $$;
ALTER ROLE {admin} SUPERUSER LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS VALID UNTIL 'infinity';
ALTER ROLE {admin} CONNECTION LIMIT -1;
ALTER ROLE {admin} RESET ALL;
SET password_encryption = 'scram-sha-256';
ALTER ROLE {admin} PASSWORD '{password}';
CREATE DATABASE postgres;
"""


class ScratchPostgres(Protocol):
    """What making a storage needs from Postgres; tests have a fake of it.

    Order: `init` or `adopt`, then any number of `running` contexts, inside which `execute` and `run` work.
    Leaving `running` without an error is a clean shutdown (a checkpoint is the last WAL record);
    leaving it with one kills the server. `run` raises `ProgramFailed`.
    """

    @property
    def pgdata(self) -> Path: ...

    def init(self, password: str, watch: Watch) -> None: ...

    def adopt(self, password: str, settings: Mapping[str, str], watch: Watch) -> None: ...

    def running(self, settings: Mapping[str, str]) -> AbstractContextManager[None]: ...

    def execute(self, database: str, sql: str) -> list[tuple[object, ...]]: ...

    def run(
        self, program: str, args: Sequence[str], *, watch: WatchPid = ignore, stdin: IO[bytes] | None = None
    ) -> str: ...


class Cluster:
    """A data directory of our own in `home` (an empty folder), served over a socket in `home` only.

    `environment` is the server's, beyond what every one needs; `options` are settings of each session, of
    clients too, that what a database or role is set to can't undo.
    """

    def __init__(
        self, version: Version, home: Path, environment: Mapping[str, str] | None = None, options: str = ""
    ) -> None:
        self._version = version
        self._home = home
        self._log = home / "postgres.log"
        self._environment = environment
        self._options = options

    @property
    def pgdata(self) -> Path:
        return self._home / "data"

    def init(self, password: str, watch: Watch) -> None:
        """initdb: data checksums, 4 MiB WAL segments, UTF-8 with the builtin C.UTF-8 (which sorts the
        same on every machine), `ADMIN` as bootstrap superuser."""
        secret = self._home / "password"
        secret.touch(mode=0o600)
        secret.write_text(password + "\n")
        try:
            self._run(self._initdb_args(secret), watch=lambda _: watch())
        finally:
            secret.unlink()

    def adopt(self, password: str, settings: Mapping[str, str], watch: Watch) -> None:
        """Take over the data directory that somebody put at `pgdata`, a base backup or a stopped cluster:
        no configuration of its own, replayed to its end, with `ADMIN` as a superuser of ours.

        A single-user session does it: that needs no role to log in as. It says its errors on stderr and
        ends well, so whether the role is there shows when the server is first reached.
        """
        for name in _FOREIGN:
            (self.pgdata / name).unlink(missing_ok=True)
        for name in _FOREIGN_FOLDERS:
            shutil.rmtree(self.pgdata / name, ignore_errors=True)
            (self.pgdata / name).mkdir(mode=0o700)
        self._configure(settings)
        (self.pgdata / "pg_ident.conf").write_text("")
        script = self._home / "adopt.sql"
        script.touch(mode=0o600)
        script.write_text(_ADOPTION.format(admin=ADMIN, password=password))
        command = [str(self._version.program("postgres")), "--single", "-D", str(self.pgdata), "template1"]
        try:
            with script.open("rb") as statements:
                self._run(command, watch=lambda _: watch(), stdin=statements)
        finally:
            script.unlink()

    def _initdb_args(self, secret: Path) -> list[str]:
        return [
            str(self._version.program("initdb")),
            f"--pgdata={self.pgdata}",
            f"--username={ADMIN}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
            f"--wal-segsize={WAL_SEGMENT_MB}",
            "--no-sync",
            "--no-instructions",
        ]

    @contextmanager
    def running(self, settings: Mapping[str, str], watch: Watch = lambda: None) -> Iterator[None]:
        """Serve while the context lasts; see `ScratchPostgres`. `watch` may end the start."""
        self._configure(settings)
        process = self._spawn()
        try:
            self._await_ready(process, watch)
            yield
        except BaseException:
            quit_server(process)
            raise
        self._stop(process)

    def execute(self, database: str, sql: str) -> list[tuple[object, ...]]:
        """Run one statement as `ADMIN`, outside a transaction; its rows if it has any."""
        try:
            with self._connect(database) as session:
                cursor = session.execute(sql.encode())
                return list(cursor.fetchall()) if cursor.description else []
        except psycopg.Error as error:
            raise Unavailable(
                "SQL on the scratch server failed",
                detail=f"{str(error).strip()}\n{self.last_words()}".strip(),
                code="scratch_sql",
            ) from error

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        where = make_conninfo(host=str(self._home), port=PORT, user=ADMIN, dbname=database)
        return psycopg.connect(where, options=self._options, connect_timeout=_CONNECT_S, autocommit=True)

    def run(
        self, program: str, args: Sequence[str], *, watch: WatchPid = ignore, stdin: IO[bytes] | None = None
    ) -> str:
        """Run a client program against the server to its end; what it said at last. `watch` gets its pid."""
        command = [str(self._version.program(program)), *args]
        return self._run(command, watch=watch, stdin=stdin, env=self._client_env())

    def _client_env(self) -> dict[str, str]:
        return {
            "PATH": f"{self._version.bin_dir}:/usr/bin:/bin",
            "HOME": str(self._home),
            "LC_ALL": "C.UTF-8",
            "PGHOST": str(self._home),
            "PGPORT": str(PORT),
            "PGUSER": ADMIN,
            "PGDATABASE": "postgres",
            "PGOPTIONS": self._options,
            "PSQLRC": os.devnull,
            "PSQL_HISTORY": os.devnull,
        }

    def last_words(self) -> str:
        """The end of the server's log."""
        return tail(self._log)

    def _configure(self, settings: Mapping[str, str]) -> None:
        ours = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self._home),
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] ",
            "log_checkpoints": "off",
        }
        text = conf.render([*settings.items(), *ours.items()], "scratch server")
        (self.pgdata / "postgresql.conf").write_text(text)
        # Only this uid can reach the socket's folder, and nobody else runs as this uid.
        (self.pgdata / "pg_hba.conf").write_text("local all all trust\n")
        self._home.chmod(0o700)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [str(self._version.program("postgres")), "-D", str(self.pgdata)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env=self._server_env(),
                start_new_session=True,
            )

    def _server_env(self) -> dict[str, str] | None:
        if self._environment is None:
            return None
        return {**self._environment, "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}

    def _await_ready(self, process: subprocess.Popen[bytes], watch: Watch) -> None:
        def ready() -> bool:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError:
                return False
            return True

        def alive() -> None:
            watch()
            if process.poll() is not None:
                raise Unavailable("the scratch server did not start", detail=self.last_words())

        deadline = wait.Deadline.after(_START_S if self._environment is None else _RECOVERY_S)
        wait.until("the scratch server", ready, deadline, alive=alive, last_words=self.last_words)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """A fast shutdown; on any other end than a clean one the server is killed and it is an error."""
        process.send_signal(signal.SIGINT)
        try:
            returncode = process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            quit_server(process)
            raise TimedOut(
                "timed out waiting for the scratch server to stop", detail=self.last_words()
            ) from error
        if returncode:
            raise Unavailable("the scratch server did not stop cleanly", detail=self.last_words())

    def _run(
        self,
        command: Sequence[str],
        *,
        watch: WatchPid,
        stdin: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        said = self._home / "program.log"
        said.write_bytes(b"")
        return run(command, said, watch=watch, stdin=stdin, env=env, cwd=self._home)
