"""A storage and its computes in folders, without Postgres: what prepare, layout, open and delete work on."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from neon_compose import wait
from neon_compose.compute.gate import NotYet, Session
from neon_compose.compute.layout import Tips
from neon_compose.compute.marker import Settler
from neon_compose.compute.paths import ComputePaths
from neon_compose.compute.usage import OwnBytes, allocated_bytes
from neon_compose.compute.writes import WriteScan
from neon_compose.model.lsn import Lsn
from neon_compose.model.moments import parse_moment, settled
from neon_compose.model.states import Durability
from neon_compose.objectstore.documents import Manifest, StorageDoc
from neon_compose.pageserver.__main__ import load_tip
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.archive import Archive
from neon_compose.pageserver.archiving import Archiving
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.claims import Claims
from neon_compose.pageserver.computes import Computes, Surroundings
from neon_compose.pageserver.diffing import Differ
from neon_compose.pageserver.generations import Generations
from neon_compose.pageserver.moments import Moments
from neon_compose.pageserver.primaries import Primaries
from neon_compose.pageserver.quorum import Quorum
from neon_compose.pageserver.restoring import Restoring
from neon_compose.pageserver.seeds import Seeds
from neon_compose.pageserver.tending import Tending
from neon_compose.pageserver.visiting import MakeServer, Visits
from neon_compose.pageserver.wal import BranchWal
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.versions import Version
from neon_compose.wire.safekeeper import ReceiverRequest
from tests.fakes_safekeeper import FakeSafekeepers
from tests.unit.pageserver.fakewal import FakeRecords, FakeWal
from tests.unit.pageserver.scratch import FakeVisited, make_birth, quiet_job


@dataclass
class FakeSession:
    """A compute's answers: up after `refusals`, standing where its control file says."""

    paths: ComputePaths
    identifier: int
    refusals: int = 0
    checkpoint: Lsn | None = None
    checkpoint_age_s: int = 60  # before the start of the server
    reloads: int = 0
    closed: bool = False
    standbys: str = ""  # synchronous_standby_names

    def connect(self) -> Session:
        if self.refusals:
            self.refusals -= 1
            raise NotYet("the database system is starting up")
        return self

    def row(self, sql: str) -> tuple[Any, ...]:
        started = datetime(2026, 1, 1, tzinfo=UTC)
        loaded = started + timedelta(seconds=self.reloads)
        if "pg_reload_conf" in sql:
            self.reloads += 1
            return (True,)
        if "synchronous_standby_names" in sql:
            return (self.standbys,)
        if "pg_stat_replication" in sql:
            return (re.findall(r"'(b[0-9a-f]+_t\d+_[0-9a-f]+)'", sql),)
        if "flush_lsn" in sql:
            return ("0/0",)
        if "pg_control_checkpoint" not in sql:
            return (loaded,)
        checkpoint = self.checkpoint or ControlFile.read(self.paths.control).checkpoint
        made = started - timedelta(seconds=self.checkpoint_age_s)
        return (self.identifier, str(checkpoint), made, started, str(checkpoint), loaded)

    def close(self) -> None:
        self.closed = True


END_OF_WAL = "echo 'pg_waldump: error: error in WAL record at 0/1: invalid record length' >&2; exit 1"


@dataclass
class World:
    """A storage made by the fake scratch Postgres. `reboot` is what a power cut does to memory."""

    tmp_path: Path
    boot: str = "boot-1"
    synced: int = 0
    lost: int = 0
    disk_works: bool = True
    now_ns: Callable[[], int] = wait.now_ns
    walk_hook: Callable[[Path], object] = lambda _: None
    safekeepers: FakeSafekeepers = field(default_factory=lambda: FakeSafekeepers(0))

    def __post_init__(self) -> None:
        birth, self.store, self.scratch = make_birth(self.tmp_path)
        self.doc: StorageDoc = birth.initialise(quiet_job())
        self.work = self.tmp_path / "work"
        for name in ("pg", "maps", "wal"):
            (self.work / name).mkdir(parents=True)
        self.bin = self.tmp_path / "bin"
        self.bin.mkdir()
        self.waldump(END_OF_WAL)
        self.sessions: dict[str, FakeSession] = {}
        self.standbys = ""
        self.committed = FakeWal(self.tmp_path / "committed")
        self.records = FakeRecords(self.committed)
        self.start()

    def start(self) -> None:
        """The pageserver's parts over what is on disk, as after a restart of it."""
        version = Version(17, self.bin)
        tips = self.tips = Tips(lambda tip, layers: load_tip(self.store, self.work / "maps", tip, layers))
        self.generations = Generations(self.work / "pg", self.scratch)
        self.settler = Settler(self.boot, self.sync)
        scan = WriteScan(version, self.now_ns)
        self.walks: list[Path] = []  # as they were made
        self.quorum = Quorum(self.store, self.safekeepers.items(), lambda host: f"10.0.0.{host[-1]}")
        self.archive = Archive(self.store, self.scratch)
        self.branch_wal = BranchWal(self.store, tips, self.quorum, self.archive, version, self.work / "wal")
        self.ages = Ages(self.store)
        self.seeds = Seeds(tips, self.ages, self.branch_wal, self.archive)
        self.primaries = Primaries(
            self.store, tips, self.quorum, self.branch_wal, scan, self.generations, self.seeds
        )
        self.computes = Computes(
            Surroundings(
                store=self.store,
                generations=self.generations,
                tips=tips,
                settler=self.settler,
                scan=scan,
                version=version,
                boot=self.boot,
                primaries=self.primaries,
                session=self.session,
                own_bytes=OwnBytes(self.walk, self.now_ns),
            )
        )
        self.archiving = Archiving(
            self.store, self.quorum, self.branch_wal, self.seeds, self.computes.resting
        )
        self.moments = Moments(
            self.store, self.ages.end, self.computes.writer_has_writes, self.committed, self.records
        )
        self.branches = Branches(self.store, self.moments)
        self.restoring = Restoring(self.store, self.branches, self.moments, self.computes, self.generations)
        self.claims = Claims(self.store, self.generations, self.branches, scan, self.boot)

    def tending(self) -> Tending:
        def receiving(manifest: Manifest) -> ReceiverRequest | None:
            return self.primaries.receiving(manifest, "secret")

        return Tending(self.store, self.quorum, receiving, self.seeds, self.archiving)

    def differ(self, make_server: MakeServer = FakeVisited) -> Differ:
        """One that opens moments which need no WAL."""
        layers, maps = self.store.local_path("layers"), self.work / "maps"
        shim = self.tmp_path / "shim.so"
        visits = Visits(self.store, self.tips, self.branch_wal.cut, shim, maps, layers, make_server)
        return Differ("shop", self.store, self.moments, visits, self.scratch)

    def walk(self, folder: Path) -> int:
        self.walks.append(folder)
        self.walk_hook(folder)
        return allocated_bytes(folder)

    def sync(self) -> None:
        if not self.disk_works:
            raise OSError(5, "Input/output error")
        self.synced += 1

    def session(self, paths: ComputePaths, _port: int, _password: str) -> Session:
        fake = self.sessions.setdefault(str(paths.root), FakeSession(paths, self.doc.system_identifier))
        fake.standbys = self.standbys
        return fake.connect()

    def waldump(self, script: str) -> None:
        """What pg_waldump does from now on."""
        path = self.bin / "pg_waldump"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def commit(self, pg: str) -> None:
        """Make it look as if a client had written."""
        self.waldump("echo 'rmgr: Transaction … desc: COMMIT 2026-01-01'")
        next(self.wal(pg)).touch()

    def wal(self, pg: str) -> Any:
        [generation] = self.generations.of(pg)
        return (path for path in generation.paths.wal.iterdir() if len(path.name) == 24)

    def prepare(
        self,
        pg: str,
        branch: str,
        from_branch: str | None = None,
        moment: str | None = None,
        durability: Durability = Durability.LOCAL,
    ) -> Any:
        asked = settled(parse_moment(moment), wait.now()) if moment is not None else None
        return self.computes.prepare(self.claims, pg, branch, from_branch, asked, durability)

    def up(self, pg: str, branch: str, **source: Any) -> str:
        """Prepare, lay out and open; the generation."""
        prepared = self.prepare(pg, branch, **source)
        names = [word for word in prepared.command if word.startswith("synchronous_standby_names=")]
        self.standbys = names[-1].partition("=")[2]
        self.computes.layout(pg, prepared.generation, 5432, {})
        self.computes.open(pg, prepared.generation, "10.0.0.9", 5432, 5.0, self.doc)
        generation: str = prepared.generation
        return generation

    def lose(self, pg: str) -> None:
        """All data directories of the pg are gone, in one step: a marker may be written meanwhile."""
        self.lost += 1
        (self.work / "pg" / pg).rename(self.tmp_path / f"lost-{self.lost}")

    def rebuild(self, pg: str, branch: str) -> str:
        """Lose its data directory, and start it again."""
        self.lose(pg)
        return self.up(pg, branch, durability=Durability.QUORUM)

    def delete(self, pg: str, *, discard: bool = False) -> None:
        self.computes.delete(self.claims, pg, discard_writes=discard)
