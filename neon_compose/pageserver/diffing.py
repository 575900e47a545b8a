"""What differs between two moments of the storage: DDL, and pages by table.

Owns the two visits (visiting.py), one after the other, and what is made of them. The DDL is what pg_dump says
of each database, compared by diff(1), which takes files of any size. Pages are compared by where they are
stored (layer/compare.py), after both servers have ended, so that each overlay says what recovery wrote.

One diff runs at a time, others wait: each runs a Postgres. The layers it reads stay, see `layers_in_use`.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from psycopg.conninfo import make_conninfo

from neon_compose import wait
from neon_compose.errors import Bug
from neon_compose.layer.compare import Content, Difference, PageSums, Relation, compare
from neon_compose.model.moments import Settled
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.catalogs import Database, Table, databases, end_prepared, tables
from neon_compose.pageserver.jobs import Job
from neon_compose.pageserver.moments import Moments, Start
from neon_compose.pageserver.visiting import VisitedPostgres, Visits
from neon_compose.wire.diff import Change, DatabaseDiff, Diff, DiffMoment, Pages, TableDiff

_TURN_S = 3600.0
# Without a key of ours pg_dump writes a random one into every dump.
_DUMP = ("--schema-only", "--restrict-key=neon", "--encoding=UTF8", "--no-sync", "--lock-wait-timeout=60s")
_NO_PAGES = Difference(0, 0, 0)


@dataclass(frozen=True)
class Side:
    """A branch's moment; of any branch, if it is a snapshot's name and there is no branch."""

    branch: str | None
    moment: Settled | None


@dataclass(frozen=True)
class _Seen:
    """One database at one moment."""

    ddl: Path
    tables: Mapping[str, Table]


@dataclass(frozen=True)
class _Visited:
    """A moment as it was found; `shown` is how people name it."""

    shown: str
    cluster: Cluster
    content: Content
    databases: Mapping[str, _Seen]


class Differ:
    def __init__(
        self, storage: str, store: ObjectStore, moments: Moments, visits: Visits, scratch: Path
    ) -> None:
        self._storage = storage
        self._store = store
        self._moments = moments
        self._visits = visits
        self._scratch = scratch
        self._turn = threading.Lock()
        self._reading: frozenset[UUID] = frozenset()

    def layers_in_use(self) -> frozenset[UUID]:
        return self._reading

    def diff(self, before: Side, after: Side, job: Job) -> Diff:
        """Nothing is left of it, whatever happens. Raises as `Moments.start`; `Corrupt` if a moment can't be
        opened; `ProgramFailed` with pg_dump's words."""
        wait.until(
            "the running diff",
            lambda: self._turn.acquire(blocking=False),
            wait.Deadline.after(_TURN_S),
            alive=job.check,
        )
        try:
            old, new = (self._moments.start(one.branch, one.moment) for one in (before, after))
            self._reading = frozenset((*old.layers, *new.layers))
            with self._folder() as folder:
                return self._diff(old, new, folder, job)
        finally:
            self._reading = frozenset()
            self._turn.release()

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = self._scratch / f"diff-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _diff(self, before: Start, after: Start, folder: Path, job: Job) -> Diff:
        found: list[DatabaseDiff] = []
        if before.point != after.point:
            sums = PageSums(self._visits.layers)
            old = self._visit(before, folder / "before", sums, job)
            new = self._visit(after, folder / "after", sums, job)
            with job.step("compare"):
                found = list(_Comparison(old, new, folder / "diff", job.check).databases())
        return Diff(before=self._moment(before), after=self._moment(after), databases=found)

    def _moment(self, start: Start) -> DiffMoment:
        names = {one.branch_id: one.name for eras in manifests.list_eras(self._store) for one in eras}
        branch = start.point.branch_id
        return DiffMoment(branch=names.get(branch, str(branch)), lsn=str(start.point.lsn))

    def _visit(self, start: Start, folder: Path, sums: PageSums, job: Job) -> _Visited:
        moment = self._moment(start)
        shown = f"{self._storage}/{moment.branch}@{moment.lsn}"
        cluster = start.cluster or manifests.read_storage(self._store).cluster
        with job.step(f"open {shown}"):
            with self._visits.at(start, cluster, folder, job.check) as server:
                found = databases(server.execute)
                end_prepared(server.execute)
                seen = {one.name: _see(server, one, folder / f"{one.oid}.sql", job.check) for one in found}
            return _Visited(shown, cluster, self._visits.content(start, folder, sums), seen)


def _see(server: VisitedPostgres, database: Database, ddl: Path, check: Callable[[], None]) -> _Seen:
    name = make_conninfo(dbname=database.name)  # a bare name that looks like a connection string is one
    server.run("pg_dump", [*_DUMP, f"--file={ddl}", f"--dbname={name}"], watch=lambda _: check())
    return _Seen(ddl, tables(server.execute, database))


@dataclass(frozen=True)
class _Comparison:
    before: _Visited
    after: _Visited
    said: Path  # where diff(1) writes
    check: Callable[[], None]

    def databases(self) -> Iterator[DatabaseDiff]:
        """Those that differ."""
        old, new = self.before.databases, self.after.databases
        for name in sorted({*old, *new}):
            self.check()
            if name not in new:
                yield DatabaseDiff(name=name, change=Change.REMOVED)
            elif name not in old:
                yield DatabaseDiff(name=name, change=Change.ADDED)
            else:
                found = self._database(name, old[name], new[name])
                if found.ddl or found.tables:
                    yield found

    def _database(self, name: str, old: _Seen, new: _Seen) -> DatabaseDiff:
        return DatabaseDiff(
            name=name,
            change=Change.CHANGED,
            ddl=self._ddl(name, old.ddl, new.ddl),
            tables=list(self._tables(old.tables, new.tables)),
        )

    def _ddl(self, database: str, old: Path, new: Path) -> str:
        labels = [f"--label={one.shown} {database}" for one in (self.before, self.after)]
        command = ["diff", "--unified", "--text", "--speed-large-files", *labels, "--", str(old), str(new)]
        with self.said.open("wb") as out:
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, check=False)
        if done.returncode not in (0, 1):
            raise Bug("diff failed", detail=done.stderr.decode(errors="replace").strip())
        return self.said.read_text(errors="replace")

    def _tables(self, old: Mapping[str, Table], new: Mapping[str, Table]) -> Iterator[TableDiff]:
        for name in sorted({*old, *new}):
            self.check()
            was, now = old.get(name), new.get(name)
            pages = self._pages(was.files if was else {}, now.files if now else {})
            index_pages = self._pages(was.indexes if was else {}, now.indexes if now else {})
            change = self._change(was, now)
            if change is not Change.CHANGED or pages.changed or index_pages.changed:
                kind = (now or was or Table("")).kind
                yield TableDiff(name=name, kind=kind, change=change, pages=pages, index_pages=index_pages)

    def _change(self, was: Table | None, now: Table | None) -> Change:
        if was is None:
            return Change.ADDED
        if now is None:
            return Change.REMOVED
        same_file = self._alike and was.files[""] == now.files[""]
        return Change.CHANGED if same_file else Change.REWRITTEN

    @property
    def _alike(self) -> bool:
        """Files of the same name of two clusters have nothing in common."""
        return self.before.cluster.system_identifier == self.after.cluster.system_identifier

    def _pages(self, old: Mapping[str, Relation], new: Mapping[str, Relation]) -> Pages:
        parts = [self._difference(old.get(part), new.get(part)) for part in {*old, *new}]
        before, after, changed = map(sum, zip(_NO_PAGES, *parts, strict=True))
        return Pages(before=before, after=after, changed=changed)

    def _difference(self, old: Relation | None, new: Relation | None) -> Difference:
        before, after = self.before.content, self.after.content
        if self._alike or old is None or new is None:
            return compare(before, old, after, new)
        gone, came = compare(before, old, after, None), compare(before, None, after, new)
        return Difference(gone.before, came.after, max(gone.before, came.after))
