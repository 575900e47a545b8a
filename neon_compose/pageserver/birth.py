"""Making a storage: a scratch cluster is filled, frozen, stopped cleanly and packed into one image layer.

Owns the order of things. The scratch cluster runs without fsync, archiving and autovacuum: it lives in
/work/scratch and a crash throws it away. Its last run has the settings computes have, so that pg_control
promises what computes keep (wal_level and the limits a standby checks), and stops cleanly: the shutdown
checkpoint is the moment of the snapshot `init` or `import`.

Crash argument. /storage counts as empty until it holds storage.json, which comes last, by create-only link:
    layer files (index last) -> manifest of main -> storage.json -> the names `main` and of the snapshot
A kill -9 before storage.json leaves files that nothing names under layers/ and branches/. `sweep` removes
exactly those, at the next start and before the next attempt; a failure that is no crash sweeps at once. A
kill -9 after it leaves a whole storage: whoever reads it first finishes the names (objectstore.manifests).
Layers are packed where they stay, not in scratch: /work and /storage are two file systems, and a copy of a
whole database is what an import takes longest for.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from neon_compose import durable, log, wait
from neon_compose.errors import Conflict, NeonError, NotFound
from neon_compose.layer.pack import CleanStop, pack_image, read_clean_stop
from neon_compose.model.ids import new_id
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import StorageDoc
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver import adopt
from neon_compose.pageserver.jobs import Job
from neon_compose.pageserver.restore import DEFAULT_DATABASE, cpu_count
from neon_compose.postgres import conf
from neon_compose.postgres.server import ADMIN, ScratchPostgres

_log = log.get(__name__)

FILLING: dict[str, str] = {
    **conf.DEFAULTS,
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_locks_per_transaction": "256",  # a dump of thousands of tables in one transaction
}
CLOSING: dict[str, str] = {**conf.DEFAULTS, **conf.PINNED, "fsync": "off", "autovacuum": "off"}

# What a storage tree may hold before storage.json is there.
_OURS = {"layers", "branches", "refs", "wal", ".lock", ".creating", "lost+found"}

Fill = Callable[[ScratchPostgres], str]  # fills the running server; the default database's name
Make = Callable[[ScratchPostgres, str], str]  # a stopped cluster, with that password of ADMIN; same
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

    def initialise(self, job: Job) -> StorageDoc:
        """A storage with an empty cluster and the snapshot `init`; that it is there is success."""
        if self.is_done():
            return manifests.read_storage(self._store)
        return self._make("init", lambda cluster, password: self._new(cluster, password, job), job)

    def import_dump(self, fill: Fill, job: Job) -> StorageDoc:
        """A storage with what `fill` puts into the scratch server and the snapshot `import`."""

        def make(cluster: ScratchPostgres, password: str) -> str:
            self._new(cluster, password, job)
            return self._filled(cluster, fill, job)

        return self._make("import", make, job)

    def import_cluster(self, data: Path, database: str | None, libraries: Path, job: Job) -> StorageDoc:
        """A storage with the cluster in the folder `data` in scratch, which is used up, and `import`."""

        def make(cluster: ScratchPostgres, password: str) -> str:
            return self._adopted(cluster, data, database, libraries, password, job)

        return self._make("import", make, job)

    def sweep(self) -> None:
        """Remove what an attempt that was killed left, unless there is a storage: then its reader finishes
        it. Only called by a maker that holds `creating`, or before this process serves."""
        self._store.sweep()
        try:
            manifests.discard_unborn(self._store)
        except Conflict:
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

    def _make(self, source: str, make: Make, job: Job) -> StorageDoc:
        with self._store.creating():
            self.sweep()
            self.refuse_unless_empty()
            home = self._scratch / f"{source}-{secrets.token_hex(4)}"
            home.mkdir(mode=0o700)
            try:
                return self._make_in(home, source, make, job)
            except BaseException:
                self.sweep()
                raise
            finally:
                shutil.rmtree(home, ignore_errors=True)

    def _make_in(self, home: Path, source: str, make: Make, job: Job) -> StorageDoc:
        password = secrets.token_urlsafe(24)
        cluster = self._make_cluster(home)
        database = make(cluster, password)
        with job.step("checkpoint"), cluster.running(CLOSING):
            cluster.execute(DEFAULT_DATABASE, "CHECKPOINT")
        stop = read_clean_stop(cluster.pgdata)
        doc = StorageDoc(
            storage_id=new_id(),
            postgres_major=self._major,
            system_identifier=stop.control.system_identifier,
            default_database=database,
            admin_password=password,
            created=wait.now(),
        )
        with job.step("pack"):
            layer_id = self._pack(cluster, doc.storage_id, stop, job)
        with job.step("publish"):
            manifests.create_storage(self._store, doc, layers=(layer_id,), snapshot=source, lsn=stop.end)
        return doc

    def _new(self, cluster: ScratchPostgres, password: str, job: Job) -> str:
        with job.step("initdb"):
            cluster.init(password, job.check)
        return DEFAULT_DATABASE

    def _filled(self, cluster: ScratchPostgres, fill: Fill, job: Job) -> str:
        with cluster.running(FILLING):
            before = _admin(cluster)
            database = fill(cluster)
            _restore_admin(cluster, before)
            _vacuum_all(cluster, job)
        return database

    def _adopted(
        self,
        cluster: ScratchPostgres,
        data: Path,
        database: str | None,
        libraries: Path,
        password: str,
        job: Job,
    ) -> str:
        data.rename(cluster.pgdata)
        cluster.pgdata.chmod(0o700)
        settings = adopt.settings_for(cluster.pgdata, FILLING)
        try:
            with job.step("replay"):
                adopt.take_over(cluster, password, settings, job)
            with cluster.running(settings):
                with job.step("adopt"):
                    adopt.settle(cluster, libraries, job)
                _vacuum_all(cluster, job)
        except NeonError as error:
            raise adopt.words_of(error) from error
        adopt.convert(cluster, job)
        return database or DEFAULT_DATABASE

    def _pack(self, cluster: ScratchPostgres, storage_id: UUID, stop: CleanStop, job: Job) -> UUID:
        layer_id = new_id()
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
        return layer_id


def _vacuum_all(cluster: ScratchPostgres, job: Job) -> None:
    """Hint bits and the visibility map now, or the first scan of every branch writes the table.
    The catalogs again at last: analysing everything has left them full of dead rows."""
    with job.step("vacuum"):
        _vacuum(cluster, job, "--analyze")
        _vacuum(cluster, job, "--schema=pg_catalog")


def _vacuum(cluster: ScratchPostgres, job: Job, option: str) -> None:
    args = ["--all", "--freeze", "--quiet", f"--jobs={cpu_count()}", option]
    cluster.run("vacuumdb", args, watch=lambda _: job.check())


_ADMIN = f"""
SELECT rolsuper AND rolcanlogin AND rolreplication AND rolbypassrls, rolpassword
FROM pg_authid WHERE rolname = '{ADMIN}'"""


def _admin(cluster: ScratchPostgres) -> tuple[object, ...]:
    return cluster.execute(DEFAULT_DATABASE, _ADMIN)[0]


def _restore_admin(cluster: ScratchPostgres, before: tuple[object, ...]) -> None:
    """Undo what a dump did to our role: its password is the one storage.json names."""
    if _admin(cluster) != before:
        _log.warning("the dump changed role %s: it is set back", ADMIN)
        rights = "SUPERUSER LOGIN REPLICATION BYPASSRLS VALID UNTIL 'infinity'"
        cluster.execute(DEFAULT_DATABASE, f"ALTER ROLE {ADMIN} {rights} PASSWORD '{before[1]}'")
