"""A storage with one layer, a parent that ran on it, and the WAL it left. Runs inside a container."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from neon_compose.compute import command, gate
from neon_compose.compute.layout import Tip, lay_out
from neon_compose.compute.paths import ComputePaths
from neon_compose.layer.overlay import read_overlay
from neon_compose.layer.pack import pack_image, read_clean_stop
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.__main__ import load_tip
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.server import ADMIN, Cluster
from neon_compose.postgres.versions import version
from tests.power.server import Over, connect

LAYER = UUID("01900000-0000-7000-8000-000000000001")
STORAGE = UUID("01900000-0000-7000-8000-00000000000a")
SETTINGS = {
    "shared_buffers": "16MB",
    "max_wal_size": "64MB",
    "min_wal_size": "8MB",
    "max_connections": "20",
    "max_prepared_transactions": "5",
    "autovacuum": "off",  # what is written should depend on the test alone
    "log_checkpoints": "on",
}
_SCRATCH = {"shared_buffers": "16MB", "fsync": "off"}
_PORT = 5432
# Not --parent-check: its lock would wait for a prepared transaction.
_AMCHECK = ("--all", "--heapallindexed", "--install-missing")
_PROGRAM_S = 60

Session = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Noted:
    """A moment of the parent: its name, and what a dump of each database was then."""

    name: str
    lsn: Lsn
    dumps: dict[str, str]


@dataclass(frozen=True)
class World:
    """Everything below `home`; `over` says what servers run with."""

    home: Path
    shim: Path

    @property
    def wal(self) -> Path:
        """All WAL of the parent, up to what it had flushed when it was killed."""
        return self.home / "wal"

    @property
    def layers(self) -> Path:
        return self.home / "layers"

    @property
    def maps(self) -> Path:
        return self.home / "maps"

    def over(self, tip: UUID) -> Over:
        return Over(version(17), self.layers, self.maps / f"{tip}.map", self.shim)

    def make(self, setup: list[str]) -> None:
        """Pack a cluster with this in it as the one layer."""
        self.layers.mkdir()
        self.maps.mkdir()
        scratch = self.home / "scratch"
        scratch.mkdir()
        cluster = Cluster(version(17), scratch)
        cluster.init("unused", lambda: None)
        with cluster.running(_SCRATCH):
            for statement in setup:
                cluster.execute("postgres", statement)
        stop = read_clean_stop(cluster.pgdata)
        pack_image(cluster.pgdata, self.layers, LAYER, STORAGE, stop.redo, stop.end)
        shutil.rmtree(scratch)

    def tip(self, *deltas: UUID) -> Tip:
        """Of the one layer that `make` packed, and deltas over it, bottom to top."""
        return load_tip(LocalStore(self.home), self.maps, (LAYER, *deltas)[-1], (LAYER, *deltas))

    def laid_out(self, name: str, tip: Tip, cut: Cut | None = None, **settings: str) -> ComputePaths:
        """A branch in the folder `name`, made anew, ready to be started."""
        paths = ComputePaths(self.home / name)
        shutil.rmtree(paths.root, ignore_errors=True)
        paths.root.mkdir()
        lay_out(paths, tip, uuid4(), cut)
        command.write_settings(paths, name, _PORT, {**SETTINGS, **settings})
        command.write_hba(paths, "local all all trust\n")
        paths.marker.write_text("boot\n")
        return paths

    @contextmanager
    def running(self, paths: ComputePaths) -> Iterator[Session]:
        """A server over it, killed at the end."""
        tip = read_overlay(paths.overlay).tip
        with self.over(tip).running(paths.root), closing(connect(paths.root)) as session:
            yield session

    def check(self, paths: ComputePaths, end: Lsn) -> None:
        """Raise as the gate does, unless the running server opened at the moment it was laid out for."""
        session = gate.SocketSession(paths, _PORT, "unused")
        try:
            found = gate.standing(session)
        finally:
            session.close()
        tip = self.tip()
        moment = tip.moment(paths, end)
        gate.check(found, gate.Expected(tip.control.system_identifier, end, moment))

    def client(self, paths: ComputePaths, program: str, *arguments: str) -> str:
        """What a program says that is run against the running server; it must end well."""
        command = [str(version(17).program(program)), *arguments]
        environment = {**os.environ, "PGHOST": str(paths.run), "PGUSER": ADMIN}
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=_PROGRAM_S
        )
        assert run.returncode == 0, f"{program}: {run.stdout[-2000:]}{run.stderr[-2000:]}"
        return run.stdout

    def dumps(self, paths: ComputePaths) -> dict[str, str]:
        """A hash of all that is in each database. Of sequences without their values: a recovered one is
        ahead by up to 32, as after every crash; and not of what is unlogged."""
        with closing(connect(paths.root)) as session:
            found = session.execute(
                "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"
            ).fetchall()
        return {str(name): self._dump(paths, str(name)) for (name,) in found}

    def _dump(self, paths: ComputePaths, database: str) -> str:
        said = self.client(paths, "pg_dump", "--restrict-key=x", "--exclude-table-data=unlogged", database)
        lines = [line for line in said.splitlines() if "pg_catalog.setval(" not in line]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def amcheck(self, paths: ComputePaths) -> None:
        said = self.client(paths, "pg_amcheck", *_AMCHECK)
        assert not said, said[:2000]

    def last_record(self, start: Lsn, end: Lsn) -> Lsn:
        """Where the last record before `end` begins, by the parent's WAL."""
        command = [str(version(17).program("pg_waldump")), f"--path={self.wal}", f"--start={start}"]
        run = subprocess.run(
            [*command, f"--end={end}"], capture_output=True, text=True, check=False, timeout=_PROGRAM_S
        )
        return Lsn.parse(re.findall(r"lsn: ([0-9A-F/]+),", run.stdout)[-1])

    # ---- notes

    def note(self, moments: list[Noted]) -> None:
        document = [{"name": one.name, "lsn": str(one.lsn), "dumps": one.dumps} for one in moments]
        (self.home / "moments.json").write_text(json.dumps(document))

    def noted(self) -> list[Noted]:
        document = json.loads((self.home / "moments.json").read_text())
        return [Noted(one["name"], Lsn.parse(one["lsn"]), one["dumps"]) for one in document]
