"""A fake of the scratch Postgres, and a storage made with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from neon_compose.compute.paths import ComputePaths
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.birth import Birth
from neon_compose.pageserver.jobs import Job
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.programs import Watch, WatchPid, ignore
from neon_compose.wire import ndjson
from tests.unit.layer.pgdata import make_pgdata, page

FILES = {
    "base/5/1259": page(1) + page(2),
    "base/5/1259_fsm": page(3),
    "base/5/16384": b"",
    "global/1262": page(4),
}


@dataclass
class FakeScratch:
    """The shape of `ScratchPostgres`: `init` makes a small stopped cluster, SQL and programs are recorded."""

    home: Path
    die_at: str = ""
    roles: set[str] = field(default_factory=lambda: {"neon_admin", "pg_monitor"})
    done: list[str] = field(default_factory=list)
    on_run: Callable[[str, Sequence[str]], None] = lambda _program, _args: None

    @property
    def pgdata(self) -> Path:
        return self.home / "data"

    def init(self, password: str, watch: Watch) -> None:  # noqa: ARG002
        self._do("initdb")
        watch()
        make_pgdata(self.pgdata, FILES)

    def adopt(self, password: str, settings: Mapping[str, str], watch: Watch) -> None:  # noqa: ARG002
        self._do("adopt")
        watch()

    @contextmanager
    def running(self, settings: Mapping[str, str]) -> Iterator[None]:
        self._do(f"start {settings['wal_level']}")
        yield
        self._do("stop")

    def execute(self, database: str, sql: str) -> list[tuple[object, ...]]:  # noqa: ARG002
        self._do(sql.split()[0])
        if "FROM pg_roles" in sql:
            return [(name,) for name in self.roles]
        if "pg_authid" in sql:
            return [(True, "SCRAM-SHA-256$…")]
        self.done.append(sql)
        return []

    def run(
        self,
        program: str,
        args: Sequence[str],
        *,
        watch: WatchPid = ignore,
        stdin: IO[bytes] | None = None,  # noqa: ARG002
    ) -> str:
        self._do(program)
        watch(0)
        self.on_run(program, args)
        return ""

    def _do(self, what: str) -> None:
        if what == self.die_at:
            raise RuntimeError(f"died at {what}")
        self.done.append(what)


@dataclass
class FakeVisited:
    """The shape of `VisitedPostgres`: it stands where its control file says, and its catalogs are `said`."""

    home: Path
    environment: Mapping[str, str]
    databases: list[tuple[str, int, bool]] = field(default_factory=lambda: [("postgres", 5, True)])
    tables: list[tuple[object, ...]] = field(
        default_factory=lambda: [
            ("public.t", "table", "", False, 1259),
            ("public.t", "table", "t_key", True, 16384),
        ]
    )
    identifier: int | None = None  # of its cluster; None: as its control file says
    prepared: list[tuple[str, str]] = field(default_factory=list)
    ddl: str = "CREATE TABLE t ();\n"
    done: list[str] = field(default_factory=list)
    on_run: Callable[[Path], None] = lambda _: None

    @contextmanager
    def running(self, settings: Mapping[str, str], watch: Watch) -> Iterator[None]:
        assert settings["autovacuum"] == "off"
        watch()
        self.done.append("start")
        yield
        self.done.append("stop")

    def execute(self, database: str, sql: str) -> list[tuple[object, ...]]:
        if "FROM pg_control_system()" in sql:
            control = ControlFile.read(ComputePaths(self.home).control)
            now, at = datetime.now(UTC), str(control.checkpoint)
            return [(self.identifier or control.system_identifier, at, now, now, at, now)]
        if "FROM pg_database" in sql:
            return list(self.databases)
        if "FROM pg_prepared_xacts" in sql:
            return list(self.prepared)
        if "FROM pg_class" in sql:
            return list(self.tables)
        self.done.append(f"{database}: {sql}")
        return []

    def run(self, program: str, args: Sequence[str], *, watch: WatchPid = ignore) -> str:
        assert program == "pg_dump"
        watch(0)
        path = next(arg for arg in args if arg.startswith("--file=")).removeprefix("--file=")
        Path(path).write_text(self.ddl)
        self.on_run(self.home)
        return ""


def quiet_job() -> Job:
    return Job(lambda _: None)


def recording_job(steps: list[ndjson.Step]) -> Job:
    return Job(steps.append)


def make_birth(tmp_path: Path, die_at: str = "") -> tuple[Birth, LocalStore, Path]:
    """A birth place over empty folders; (it, its store, its scratch)."""
    storage, scratch = tmp_path / "storage", tmp_path / "scratch"
    for folder in (storage, scratch):
        folder.mkdir(exist_ok=True)
    store = LocalStore(storage)
    return Birth(store, scratch, 17, lambda home: FakeScratch(home, die_at)), store, scratch
