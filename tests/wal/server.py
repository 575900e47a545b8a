"""Postgres for these tests: a primary that can be killed, and one that replays what a receiver has. Runs
inside a container."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg

from neon_compose import wait
from neon_compose.layer.cluster import read_clean_stop
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.server import ADMIN, Cluster
from neon_compose.postgres.versions import version
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.safekeeper.condition import Condition
from neon_compose.safekeeper.receiver import Receiver
from neon_compose.safekeeper.segments import Segments
from neon_compose.safekeeper.subject import Primary, Subject

V17 = version(17)
SEGMENT = 1 << 20  # small, so that every test goes through many
PORT = 5432
BRANCH = UUID("01900000-0000-7000-8000-00000000000b")
MEMBER = UUID("01900000-0000-7000-8000-00000000aaaa")
SUBJECT = Subject(BRANCH, 1, MEMBER)
SETUP = "CREATE TABLE t (n int PRIMARY KEY, filler text)"
_START_S = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "wal_level": "replica",
    "shared_buffers": "16MB",
    "max_connections": "20",
    "min_wal_size": "2MB",
    "max_wal_size": "8MB",
    "wal_keep_size": "4MB",
    "wal_sender_timeout": "5s",
    "log_line_prefix": "%m [%p] ",
}


@dataclass
class Template:
    """A cluster with the table t, stopped cleanly: where `start` is the end of its WAL."""

    home: Path
    pgdata: Path = field(init=False)
    redo: Lsn = field(init=False)
    start: Lsn = field(init=False)

    def __post_init__(self) -> None:
        self.pgdata = self.home / "data"
        initdb = [str(V17.program("initdb")), f"--pgdata={self.pgdata}", f"--username={ADMIN}"]
        initdb += ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-sync"]
        subprocess.run([*initdb, "--wal-segsize=1"], check=True, capture_output=True)
        with Cluster(V17, self.home).running({"fsync": "off"}):
            psycopg.connect(host=str(self.home), user=ADMIN, dbname="postgres", autocommit=True).execute(
                SETUP.encode()
            ).connection.close()
        stop = read_clean_stop(self.pgdata)
        self.redo, self.start = stop.redo, stop.end
        (self.pgdata / "pg_hba.conf").write_text("local all all trust\nlocal replication all trust\n")

    @property
    def wal(self) -> WalFolder:
        return WalFolder(self.pgdata / "pg_wal", 1, SEGMENT)

    def before(self, lsn: Lsn) -> bytes:
        """The WAL of the segment of `lsn` up to it."""
        return self.wal.read(self.wal.number(lsn))[: lsn.value % SEGMENT]

    def seeded(self, path: Path) -> Segments:
        segments = Segments.open(path, 1, SEGMENT)
        assert self.wal.number(self.redo) == self.wal.number(self.start)
        segments.seed(self.start, self.before(self.start))
        return segments


class Server:
    """A server over a copy of the template, in `home`."""

    def __init__(self, template: Template, home: Path) -> None:
        self.home = home
        self.pgdata = home / "data"
        home.mkdir(mode=0o700)
        shutil.copytree(template.pgdata, self.pgdata)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, env: Mapping[str, str] | None = None, **settings: str) -> None:
        asked = {**_SETTINGS, "unix_socket_directories": str(self.home), **settings}
        options = [word for name, value in asked.items() for word in ("-c", f"{name}={value}")]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(V17.program("postgres")), "-D", str(self.pgdata), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
            )

        def ready() -> bool:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        def alive() -> None:
            assert self._process is not None
            assert self._process.poll() is None, self.said()

        wait.until("the server", ready, wait.Deadline.after(_START_S), alive=alive, last_words=self.said)

    def start_primary(
        self, term: int = 1, branch: UUID = BRANCH, standbys: str = "", **settings: str
    ) -> None:
        ours = {"neon.branch": str(branch), "neon.term": str(term), "synchronous_standby_names": standbys}
        self.start(**ours, **settings)

    def open_at(self, template: Template, segments: Segments, end: Lsn) -> None:
        """Have it replay the WAL in the segments up to `end` when it starts (DESIGN 6)."""
        self.open_with(dict(segments.read(template.redo, end)))

    def open_with(self, wal: dict[str, bytes]) -> None:
        """Have it replay these segments when it starts."""
        folder = self.pgdata / "pg_wal"
        shutil.rmtree(folder)
        folder.mkdir()
        for name, data in wal.items():
            (folder / name).write_bytes(data)
        path = self.pgdata / "global" / "pg_control"
        control = ControlFile.read(path)
        control = control.patched(state=DbState.SHUT_DOWN_IN_RECOVERY, min_recovery_point=Lsn(0))
        path.write_bytes(control.raw)

    def kill(self) -> None:
        """SIGKILL to all its processes at once, and no process left."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)  # it starts and reaps none any more
        pids = [self._process.pid, *_children(self._process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        gone = wait.Deadline.after(10)
        wait.until("its children to be gone", lambda: not any(_alive(pid) for pid in pids), gone)
        self._process = None

    def said(self) -> str:
        return (self.home / "log").read_text(errors="replace")[-3000:]

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=str(self.home), port=PORT, user=ADMIN, dbname="postgres", autocommit=True)

    def sql(self, *statements: str) -> list[tuple[object, ...]]:
        """Run them one after the other; the rows of the last."""
        with self.connect() as session:
            for statement in statements:
                cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def lsn(self) -> Lsn:
        return Lsn.parse(str(self.sql("SELECT pg_current_wal_insert_lsn()")[0][0]))

    @property
    def primary(self) -> Primary:
        return Primary(str(self.home), PORT, ADMIN)


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int((path / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(path.name))
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def receiving(
    segments: Segments, server: Server, subject: Subject = SUBJECT, home: Path | None = None
) -> Iterator[Receiver]:
    """A receiver that has connected; stopped at the end."""
    receiver = Receiver(V17, segments, subject, server.primary, (home or server.home) / "receivewal.log")
    receiver.start()
    try:
        await_condition(receiver, Condition.RECEIVING)
        yield receiver
    finally:
        receiver.stop()


def await_condition(receiver: Receiver, condition: Condition) -> None:
    def words() -> str:
        trouble = receiver.state.trouble
        return f"{receiver.state.condition}: {trouble}: {trouble.detail if trouble else ''}"

    wait.until(
        condition.value,
        lambda: receiver.state.condition is condition,
        wait.Deadline.after(20),
        last_words=words,
    )


def rows_replayed(template: Template, segments: Segments, end: Lsn, home: Path) -> set[int]:
    """The rows of t in a Postgres that replays the WAL in the segments up to `end`, from the template on."""
    server = Server(template, home)
    server.open_at(template, segments, end)
    server.start(max_prepared_transactions="2")
    try:
        return {int(str(row[0])) for row in server.sql("SELECT n FROM t")}
    finally:
        server.kill()
        shutil.rmtree(server.pgdata)
