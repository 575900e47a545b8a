"""What the pageserver can do, as plain functions of its parts; app.py gives each an address.

Owns the storage's one big lock: initialise and import exclude each other and themselves.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, assert_never

from neon_compose import wait
from neon_compose.compute.usage import allocated_bytes
from neon_compose.errors import Conflict, Invalid, NeonError, NotFound
from neon_compose.model.moments import Settled, parse_moment, settled
from neon_compose.model.names import parse_name
from neon_compose.model.states import Durability
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster, Manifest, StorageDoc
from neon_compose.pageserver import content, leftovers, restore
from neon_compose.pageserver.content import Content
from neon_compose.pageserver.diffing import Side
from neon_compose.pageserver.dump import Format, Spool, recognise
from neon_compose.pageserver.jobs import Job
from neon_compose.pageserver.parts import Parts
from neon_compose.pageserver.redoing import Standing
from neon_compose.pageserver.redonow import redo_now
from neon_compose.postgres import conf
from neon_compose.postgres.server import ADMIN, ScratchPostgres
from neon_compose.wire import pageserver as wire
from neon_compose.wire.chronicle import BranchLog
from neon_compose.wire.diff import DiffRequest
from neon_compose.wire.fetching import DATA, DUMP, Fetch, FetchRequest, Via
from neon_compose.wire.pageserver import ImportAs

_STOP_S = 10.0
_VERBS = {ImportAs.NEW: "import", ImportAs.REFRESH: "refresh"}


class Service:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._storage: StorageDoc | None = None
        self._checked: set[tuple[tuple[str, str], ...]] = set()  # settings the binary has parsed
        self._making = threading.Lock()
        self._busy: str | None = None

    # ---- the storage

    def storage(self) -> StorageDoc:
        """The storage's document, read once: it doesn't change. Raises `NotFound` code "no_storage"."""
        if self._storage is None:
            self._storage = manifests.read_storage(self._parts.store)
        return self._storage

    def status(self) -> wire.StorageStatus:
        try:
            doc = self.storage()
        except NotFound:
            return wire.StorageStatus(name=self._parts.name, empty=True, busy=self._busy)
        store = self._parts.store
        cluster = self._cluster(manifests.MAIN)
        branches = manifests.list_branches(store)
        redo = [self._redo(one) for one in branches]
        return wire.StorageStatus(
            name=self._parts.name,
            empty=False,
            busy=self._busy,
            storage_id=str(doc.storage_id),
            format=doc.format,
            postgres_major=doc.postgres_major,
            system_identifier=cluster.system_identifier,
            default_database=cluster.default_database,
            packages=list(doc.packages),
            created_at=doc.created,
            branches=[one.name for one in branches],
            snapshots=[one.name for one in manifests.list_snapshots(store)],
            size_bytes=allocated_bytes(store.root),
            redo_lag_bytes=max((one.lag_bytes or 0 for one in redo), default=0),
            redo_failing=sum(bool(one.error) for one in redo),
            history_from=self._history_from(manifests.read_branch(store, manifests.MAIN)),
        )

    def _history_from(self, main: Manifest) -> str | None:
        start = self._parts.redo.history_start(main) if self._parts.redo else None
        return str(start) if start is not None else None

    def credentials(self, branch: str) -> wire.Credentials:
        """For a pg on `branch`, whether that is there yet or not."""
        password = self.storage().admin_password
        return wire.Credentials(
            role=ADMIN, password=password, database=self._cluster(branch).default_database
        )

    def _cluster(self, branch: str) -> Cluster:
        """That of the branch, or of `main` if there is no such branch yet."""
        store = self._parts.store
        try:
            found = manifests.read_branch(store, branch)
        except NotFound:
            found = manifests.read_branch(store, manifests.MAIN)
        return found.cluster or self.storage().cluster

    def leftovers(self) -> list[wire.Leftover]:
        parts = self._parts
        known = parts.redo.layers_in_motion() if parts.redo else ()
        return list(leftovers.find(parts.store, parts.claims.generations, parts.scratch, known))

    def initialise(self, job: Job) -> dict[str, Any]:
        with self._only_maker("initialise"):
            self._parts.birth.initialise(job)
            self._parts.warm_up()
        return self.status().model_dump(mode="json")

    def open_spool(self, what: ImportAs) -> Spool:
        """Where a dump goes as it arrives. Raises `Conflict` when it could not become `what` anyway."""
        self._refuse_import(what)
        folder = self._parts.scratch / f"spool-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        return Spool(folder / "dump")

    def drop_spool(self, spool: Spool) -> None:
        with suppress(NeonError):  # what it could not write goes anyway
            spool.close()
        shutil.rmtree(spool.path.parent, ignore_errors=True)

    def import_spooled(self, spool: Spool, wanted: Format | None, what: ImportAs, job: Job) -> dict[str, Any]:
        """Content from the spooled dump; the spool is gone afterwards."""
        try:
            with self._only_maker(_VERBS[what]):
                with job.step("check"):
                    dump = recognise(spool.path, wanted)

                def fill(server: ScratchPostgres) -> str:
                    folder = spool.path.parent
                    return restore.restore(
                        dump, server, folder, self._parts.version.major, restore.has_locale, job
                    ).default_database

                self._bring(what, content.of_dump(fill), job)
        finally:
            self.drop_spool(spool)
        return self.status().model_dump(mode="json")

    # ---- what a fetching container brings

    def begin_fetch(self, request: FetchRequest, what: ImportAs) -> Fetch:
        """A folder for it, with the request in it. Raises `Conflict` as `open_spool`."""
        self._refuse_import(what)
        return self._parts.fetches.begin(request)

    def drop_fetch(self, fetch_id: str) -> None:
        self._parts.fetches.drop(fetch_id)

    def import_fetched(self, fetch_id: str, what: ImportAs, job: Job) -> dict[str, Any]:
        """Content of what was fetched; the fetch is gone afterwards."""
        try:
            with self._only_maker(_VERBS[what]):
                fetched = self._fetched(self._parts.fetches.folder(fetch_id), job)
                self._bring(what, fetched, job)
        finally:
            self._parts.fetches.drop(fetch_id)
        return self.status().model_dump(mode="json")

    def _bring(self, what: ImportAs, made_of: Content, job: Job) -> None:
        birth = self._parts.birth
        match what:
            case ImportAs.NEW:
                birth.bring(made_of, job)
            case ImportAs.REFRESH:
                birth.refresh(made_of, job)
            case _:
                assert_never(what)
        self._parts.warm_up()

    def _refuse_import(self, what: ImportAs) -> None:
        if self._busy is not None:
            raise self._is_busy()
        birth = self._parts.birth
        (birth.refuse_unless_empty if what is ImportAs.NEW else birth.refuse_unless_refreshable)()

    def _fetched(self, folder: Path, job: Job) -> Content:
        report = self._parts.fetches.report(folder)
        version = self._parts.version
        if report.via is not Via.DUMP:
            return content.of_cluster(folder / DATA, report.database, version.libraries)
        dump = recognise(folder / DUMP, Format.CUSTOM)
        database = report.database or restore.DEFAULT_DATABASE

        def fill(server: ScratchPostgres) -> str:
            return restore.restore(
                dump, server, folder, version.major, restore.has_locale, job, database
            ).default_database

        return content.of_dump(fill)

    @contextmanager
    def _only_maker(self, what: str) -> Iterator[None]:
        if not self._making.acquire(blocking=False):
            raise self._is_busy()
        try:
            self._busy = what
            yield
        finally:
            self._busy = None
            self._making.release()

    def _is_busy(self) -> Conflict:
        return Conflict("the storage is being made", detail=f"By {self._busy}.", code="busy")

    # ---- branches

    def branches(self) -> list[wire.Branch]:
        self.storage()
        return self._parts.branches.show_all(self._redo)

    def branch_ids(self) -> list[str]:
        return [str(one) for one in manifests.branch_ids(self._parts.store)]

    def sizes(self) -> list[wire.BranchSize]:
        self.storage()
        found = self._parts.sizes.own()
        return [wire.BranchSize(name=name, own_bytes=size) for name, size in found.items()]

    def snapshots(self) -> list[wire.Snapshot]:
        self.storage()
        return self._parts.branches.show_snapshots()

    def _redo(self, manifest: Manifest) -> Standing:
        jobs = self._parts.redo
        return jobs.standing(manifest) if jobs else Standing()

    def redo(self, name: str, job: Job) -> dict[str, Any]:
        """See `redo_now`; a `wire.Redone`."""
        self.storage()
        parts = self._parts
        return redo_now(parts.redo, parts.store, parts.branches.find(name), job).model_dump(mode="json")

    def log(self, name: str, limit: int) -> BranchLog:
        self.storage()
        return self._parts.chronicle.of(parse_name(name, "branch"), limit)

    def diff(self, request: DiffRequest, job: Job) -> dict[str, Any]:
        self.storage()
        before, after = (Side(one.branch, _moment(one.moment)) for one in (request.before, request.after))
        return self._parts.differ.diff(before, after, job).model_dump(mode="json")

    def start(self) -> None:
        """What goes on by itself, while it serves."""
        if self._parts.archiving is not None:
            self._parts.archiving.start()
        self._parts.deleting.start()
        if self._parts.tending is not None:
            self._parts.tending.start()
        if self._parts.redo is not None:
            self._parts.redo.start()

    def stop(self) -> None:
        """What is committed by now is archived first: safekeepers may be removed next."""
        self._parts.deleting.stop()
        if self._parts.tending is not None:
            self._parts.tending.stop()
            self._parts.tending.tend_once_more()
        if self._parts.archiving is not None:
            self._parts.archiving.stop()
            self._parts.archiving.finish()
        if self._parts.redo is not None:
            self._parts.redo.stop(wait.Deadline.after(_STOP_S))

    def snapshot(self, name: str) -> wire.Snapshot:
        self.storage()
        return self._parts.branches.show_snapshot(parse_name(name, "snapshot"))

    def create_snapshot(self, name: str, request: wire.SnapshotRequest) -> tuple[wire.Snapshot, bool]:
        self.storage()
        parse_name(name, "snapshot")
        moment = _moment(request.moment)
        _, created = self._parts.branches.create_snapshot(name, request.from_branch, moment)
        return self._parts.branches.show_snapshot(name), created

    def delete_snapshot(self, name: str) -> None:
        self.storage()
        manifests.delete_snapshot(self._parts.store, parse_name(name, "snapshot"))

    def create_branch(self, name: str, request: wire.BranchRequest) -> tuple[wire.Branch, bool]:
        self.storage()
        parse_name(name, "branch")
        manifest, created = self._parts.branches.create(name, request.from_branch, _moment(request.moment))
        return self._parts.branches.show(manifest), created

    def restore_branch(self, name: str, request: wire.RestoreRequest) -> wire.Restored:
        self.storage()
        parse_name(name, "branch")
        return self._parts.restoring.answer(name, _moment(request.moment), request)

    def mark_branch(self, name: str, request: wire.MarkRequest) -> wire.Branch:
        self.storage()
        parts = self._parts
        parse_name(name, "branch")
        if request.mark is wire.Mark.RECOVER:
            return parts.branches.show(parts.recovering.recover(name, accept_loss=request.accept_loss))
        marked = parts.restoring.mark(name, request)
        return self._parts.branches.show(marked)

    def delete_branch(self, name: str, *, now: bool = False) -> None:
        self.storage()
        self._parts.deleting.delete(name, now=now)

    def deleted_branches(self) -> list[wire.DeletedBranch]:
        self.storage()
        return self._parts.deleting.shown()

    def end_deleted(self, name: str) -> None:
        self.storage()
        self._parts.deleting.end(name)

    def undelete_branch(self, name: str, request: wire.UndeleteRequest) -> wire.Branch:
        self.storage()
        back = self._parts.deleting.undelete(parse_name(name, "branch"), request.new_name)
        return self._parts.branches.show(back)

    # ---- computes

    def prepare(self, pg: str, request: wire.PrepareRequest) -> wire.Prepared:
        self.storage()
        parse_name(pg, "pg")
        parse_name(request.branch, "branch")
        return self._parts.computes.prepare(
            self._parts.claims,
            pg,
            request.branch,
            request.from_branch,
            _moment(request.moment),
            request.durability,
        )

    def check_settings(
        self, settings: Mapping[str, wire.SettingValue], durability: Durability
    ) -> dict[str, str]:
        """The settings as Postgres writes them. Raises `Invalid` naming what is unknown or forbidden."""
        _refuse_durability(durability)
        checked = conf.check_names(settings, self._parts.known_settings)
        key = tuple(sorted(checked.items()))
        if key and key not in self._checked:
            conf.check_values(self._parts.version, checked)
            self._checked.add(key)
        return checked

    def layout(self, pg: str, request: wire.LayoutRequest) -> wire.LaidOut:
        self.storage()
        settings = self.check_settings(request.settings, request.durability)
        return self._parts.computes.layout(pg, request.generation, request.port, settings)

    def open(self, pg: str, request: wire.OpenRequest) -> wire.Opened:
        return self._parts.computes.open(
            pg, request.generation, request.host, request.port, request.wait_s, self.storage()
        )

    def compute(self, pg: str) -> wire.ComputeStatus:
        return self._parts.computes.status(pg)

    def computes(self) -> list[wire.ComputeStatus]:
        return self._parts.computes.statuses()

    def delete_compute(self, pg: str, discard_writes: bool) -> None:
        parse_name(pg, "pg")
        self._parts.computes.delete(self._parts.claims, pg, discard_writes=discard_writes)

    def discard_cache(self, pg: str) -> None:
        parse_name(pg, "pg")
        self._parts.computes.discard_cache(self._parts.claims, pg)


def _moment(text: str | None) -> Settled | None:
    return settled(parse_moment(text), wait.now()) if text is not None else None


def _refuse_durability(durability: Durability) -> None:
    if durability is Durability.OFF:
        raise Invalid(
            'durability "off" is not available yet',
            detail="A pg runs under quorum (safekeepers have a commit) or local (its own disk has it).",
            code="not_available",
        )
