"""Committed WAL as a list of records, in place of safekeepers and pg_waldump."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from uuid import UUID, uuid4

from neon_compose.errors import Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.postgres.commits import Commit
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Found
from neon_compose.terms.history import History, TermStart
from neon_compose.terms.register import Decided, new_register

SEGMENT = 4 << 20


@dataclass(frozen=True)
class Row:
    """A record; a commit if it has a time."""

    begin: Lsn
    end: Lsn
    time: datetime | None = None
    ddl: bool = False


@dataclass(frozen=True)
class FakeCommitted:
    folder: WalFolder
    end: Lsn


@dataclass
class FakeWal:
    """A branch's WAL lies in the folder of its id, and has the branch's own records only."""

    path: Path
    rows: dict[UUID, list[Row]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    damaged: Lsn | None = None  # no record that ends after it can be read

    def commit_lsn(self, manifest: Manifest) -> Lsn:
        return self.rows[manifest.branch_id][-1].end

    def end(self, manifest: Manifest) -> Lsn:
        self.asked.append(f"end of {manifest.name}")
        return self._whole(self.rows[manifest.branch_id][-1].end)

    def upto(self, manifest: Manifest, end: Lsn) -> FakeCommitted:
        self.asked.append(f"{manifest.name} over {len(manifest.layers)} to {end}")
        return self._upto(manifest, end)

    def _upto(self, manifest: Manifest, end: Lsn) -> FakeCommitted:
        rows = self.rows[manifest.branch_id]
        assert self._whole(end) <= rows[-1].end, "beyond what is committed"
        ends = takewhile(lambda one: one <= end, (row.end for row in rows))
        return FakeCommitted(WalFolder(self.path / str(manifest.branch_id), 1, SEGMENT), max(ends))

    def _whole(self, end: Lsn) -> Lsn:
        if self.damaged is not None and end > self.damaged:
            raise Corrupt(f"WAL is damaged at {self.damaged}", code="wal_damaged")
        return end

    def receive(self, store: ObjectStore, name: str, start: Lsn) -> None:
        """From now on the branch has a safekeeper, and WAL from `start` on."""
        manifest = manifests.read_branch(store, name)
        decided = Decided(History((TermStart(1, start),)), (uuid4(),))
        register = replace(new_register(1), decided=decided)
        manifests.update_manifest(store, manifest.branch_id, lambda found: replace(found, register=register))
        self.rows[manifest.branch_id] = [Row(start, start)]

    def write(
        self, store: ObjectStore, name: str, size: int, time: datetime | None = None, *, ddl: bool = False
    ) -> Lsn:
        """A record of `size` bytes of the branch; its end."""
        rows = self.rows[manifests.read_branch(store, name).branch_id]
        rows.append(Row(rows[-1].end, Lsn(rows[-1].end.value + size), time, ddl))
        return rows[-1].end


@dataclass
class FakeRecords:
    wal: FakeWal
    walks: list[tuple[Lsn, Lsn]] = field(default_factory=list)

    def at_time(self, wal: WalFolder, start: Lsn, upto: Lsn, moment: datetime) -> Found:
        self.walks.append((start, upto))
        seen: list[datetime] = []
        for row in self._rows(wal, start):
            if row.time is not None and row.end <= upto:
                seen.append(row.time)
                if row.time > moment:
                    return Found(row.begin, seen[0], row.time)
        return Found(None, seen[0] if seen else None, seen[-1] if seen else None)

    def commits(self, wal: WalFolder, start: Lsn, upto: Lsn) -> Generator[Commit]:
        self.walks.append((start, upto))
        for row in self._rows(wal, start):
            if row.time is not None and row.end <= upto:
                yield Commit(row.begin, row.end, row.time, row.ddl)

    def _rows(self, wal: WalFolder, start: Lsn) -> list[Row]:
        return [row for row in self.wal.rows[UUID(wal.path.name)] if row.begin >= start]
