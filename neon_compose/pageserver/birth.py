"""Making a storage, and the next content of one: a scratch cluster (content) is packed into one image layer.

Owns the order of things.

Crash argument. /storage counts as empty until it holds storage.json, which comes last, by create-only link:
    layer files (index last) -> manifest of main -> storage.json -> the names `main` and of the snapshot
A kill -9 before storage.json leaves files that nothing names under layers/ and branches/. `sweep` removes
exactly those, at the next start and before the next attempt; a failure that is no crash sweeps at once. A
kill -9 after it leaves a whole storage: whoever reads it first finishes the names (objectstore.manifests).
A refresh of a storage writes down first what it will make (objectstore.refreshes); `sweep` settles that too.
Layers are packed where they stay, not in scratch: /work and /storage are two file systems, and a copy of a
whole database is what an import takes longest for.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from neon_compose import durable, wait
from neon_compose.errors import Conflict, NotFound
from neon_compose.layer.pack import CleanStop, pack_image, read_clean_stop
from neon_compose.model.ids import new_id
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster, StorageDoc
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver import content
from neon_compose.pageserver.content import Content
from neon_compose.pageserver.jobs import Job
from neon_compose.postgres.server import ScratchPostgres

# What a storage tree may hold before storage.json is there.
_OURS = {"layers", "branches", "refs", "wal", ".lock", ".creating", "lost+found"}

MakeCluster = Callable[[Path], ScratchPostgres]


class Birth:
    """Makes the storage in `store`, with scratch folders below `scratch`."""

    def __init__(self, store: LocalStore, scratch: Path, major: int, make_cluster: MakeCluster) -> None:
        self._store = store
        self._scratch = scratch
        self._major = major
        self._make_cluster = make_cluster

    def refuse_unless_empty(self) -> None:
        """Raise `Conflict` if there is a storage, or files that are not ours."""
        if self.is_done():
            raise Conflict("there is a storage here already", code="storage_exists")
        foreign = sorted(path.name for path in self._store.root.iterdir() if path.name not in _OURS)
        if foreign:
            raise Conflict(
                "the storage's folder is not empty",
                detail=f"It holds {', '.join(foreign[:5])}.",
                code="not_empty",
            )

    def refuse_unless_refreshable(self) -> None:
        """Raise `NotFound` if there is no storage, `Conflict` if a pg writes to main or it is protected."""
        manifests.read_storage(self._store)
        manifests.refuse_refresh(manifests.read_branch(self._store, manifests.MAIN))

    def initialise(self, job: Job) -> StorageDoc:
        """A storage with an empty cluster and the snapshot `init`; that it is there is success."""
        if self.is_done():
            return manifests.read_storage(self._store)
        return self._make("init", content.empty, job)

    def bring(self, what: Content, job: Job) -> StorageDoc:
        """A storage with that content and the snapshot `import`."""
        return self._make("import", what, job)

    def refresh(self, what: Content, job: Job) -> None:
        """`main` of the storage that is there gets that content, and a new snapshot `import-<n>`.

        What main was stays, with its snapshots and branches. Raises `Conflict` code "branch_in_use" if a pg
        writes to main; nothing has changed then.
        """
        with self._store.creating(), self._swept():
            self.refuse_unless_refreshable()
            doc = manifests.read_storage(self._store)
            refresh = manifests.begin_refresh(self._store)
            with self._closed("refresh", what, doc.admin_password, job) as (cluster, stop, database):
                with job.step("pack"):
                    self._pack(cluster, doc.storage_id, refresh.layer_id, stop, job)
                with job.step("publish"):
                    found = Cluster(stop.control.system_identifier, database)
                    manifests.commit_refresh(self._store, refresh, found, stop.end)

    def sweep(self) -> None:
        """Remove or finish what an attempt that was killed left. Only called by a maker that holds
        `creating`, or before this process serves."""
        self._store.sweep()
        try:
            manifests.discard_unborn(self._store)
        except Conflict:
            manifests.read_storage(self._store)  # which finishes one that was cut off
            manifests.settle_refresh(self._store)
            return
        for name in ("layers", "branches", "refs/branches", "refs/snapshots", "refs", "wal"):
            with suppress(OSError):  # not there, or not empty: not ours to remove
                (self._store.root / name).rmdir()
        for name in (".lock", ".creating"):
            (self._store.root / name).unlink(missing_ok=True)

    def is_done(self) -> bool:
        """Whether there is a storage; finishes one that was cut off after its storage.json."""
        with suppress(NotFound):
            manifests.read_storage(self._store)
            return True
        return False

    def is_cut_off(self) -> bool:
        """Whether a refresh of the storage that is there needs `sweep`."""
        return manifests.is_refreshing(self._store)

    def _make(self, source: str, what: Content, job: Job) -> StorageDoc:
        password, storage_id, layer_id = secrets.token_urlsafe(24), new_id(), new_id()
        with self._store.creating(), self._swept():
            self.refuse_unless_empty()
            with self._closed(source, what, password, job) as (cluster, stop, database):
                doc = StorageDoc(
                    storage_id=storage_id,
                    postgres_major=self._major,
                    system_identifier=stop.control.system_identifier,
                    default_database=database,
                    admin_password=password,
                    created=wait.now(),
                )
                with job.step("pack"):
                    self._pack(cluster, storage_id, layer_id, stop, job)
                with job.step("publish"):
                    manifests.create_storage(
                        self._store, doc, layers=(layer_id,), snapshot=source, lsn=stop.end
                    )
        return doc

    @contextmanager
    def _swept(self) -> Iterator[None]:
        """Nothing of an earlier attempt is there at the beginning, nor of this one after a failure."""
        self.sweep()
        try:
            yield
        except BaseException:
            self.sweep()
            raise

    @contextmanager
    def _closed(
        self, source: str, what: Content, password: str, job: Job
    ) -> Iterator[tuple[ScratchPostgres, CleanStop, str]]:
        """A cluster in scratch that was stopped cleanly, where it stopped, and its default database."""
        home = self._scratch / f"{source}-{secrets.token_hex(4)}"
        home.mkdir(mode=0o700)
        try:
            cluster = self._make_cluster(home)
            database = what(cluster, password, job)
            content.close(cluster, job)
            yield cluster, read_clean_stop(cluster.pgdata), database
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def _pack(
        self, cluster: ScratchPostgres, storage_id: UUID, layer_id: UUID, stop: CleanStop, job: Job
    ) -> None:
        folder = self._store.local_path("layers")
        durable.make_folder(folder)
        pack_image(
            cluster.pgdata,
            folder,
            layer_id,
            storage_id,
            stop.redo,
            stop.end,
            lambda done, total: job.progress("pack", done, total),
        )
