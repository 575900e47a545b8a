"""What a storage's cluster is made of: nothing, a dump, or another server's data directory.

A scratch cluster is filled, vacuumed and stopped cleanly. It runs without fsync, archiving and autovacuum:
it lives in /work/scratch and a crash throws it away. Its last run has the settings computes have, so that
pg_control promises what computes keep (wal_level and the limits a standby checks), and ends with a shutdown
checkpoint: the moment of the snapshot `init` or `import`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neon_compose import log
from neon_compose.errors import NeonError
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

Fill = Callable[[ScratchPostgres], str]  # fills the running server; the default database's name
# Makes a stopped cluster with that password of ADMIN; the default database's name.
Content = Callable[[ScratchPostgres, str, Job], str]


def empty(cluster: ScratchPostgres, password: str, job: Job) -> str:
    """What initdb makes."""
    with job.step("initdb"):
        cluster.init(password, job.check)
    return DEFAULT_DATABASE


def of_dump(fill: Fill) -> Content:
    """What `fill` puts into the running scratch server."""

    def make(cluster: ScratchPostgres, password: str, job: Job) -> str:
        empty(cluster, password, job)
        with cluster.running(FILLING):
            before = _admin(cluster)
            database = fill(cluster)
            _restore_admin(cluster, before)
            _vacuum_all(cluster, job)
        return database

    return make


def of_cluster(data: Path, database: str | None, libraries: Path) -> Content:
    """The cluster in the folder `data` in scratch, which is used up."""

    def make(cluster: ScratchPostgres, password: str, job: Job) -> str:
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

    return make


def close(cluster: ScratchPostgres, job: Job) -> None:
    """Its last run, which ends where the layer begins."""
    with job.step("checkpoint"), cluster.running(CLOSING):
        cluster.execute(DEFAULT_DATABASE, "CHECKPOINT")


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
