"""A redo job that somebody asks for and waits for."""

from __future__ import annotations

from neon_compose import wait
from neon_compose.errors import Conflict
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.jobs import Job
from neon_compose.pageserver.redoing import RedoJobs
from neon_compose.wire.pageserver import Redone


def redo_now(jobs: RedoJobs | None, store: ObjectStore, branch: Manifest, job: Job) -> Redone:
    """Replay the branch's WAL into a layer, however little it is.

    Raises `Conflict` code "no_wal" where none is received, and as `RedoJobs.now`.
    """
    if jobs is None:
        raise Conflict(
            f'there is no WAL of branch "{branch.name}" to replay',
            detail="The stack has no safekeepers: WAL stays in the computes.",
            code="no_wal",
        )
    began_s = wait.monotonic_s()

    def read() -> Manifest:
        return manifests.read_manifest(store, branch.branch_id)

    with job.step("redo"):
        made = jobs.now(branch, read, job.check)
    return Redone(
        layers=[str(one.layer) for one in made],
        tip_lsn=str(jobs.growth.end(read())),
        wal_bytes=sum(one.wal_bytes for one in made),
        ms=round((wait.monotonic_s() - began_s) * 1000, 1),
    )
