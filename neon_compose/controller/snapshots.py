"""What can be asked of snapshots: one function per request, as in branches."""

from __future__ import annotations

from neon_compose.controller import branches, render
from neon_compose.controller import steps as do
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import NotFound
from neon_compose.model.source import Source
from neon_compose.wire.rest import SnapshotOut


def list_all(site: Site) -> list[SnapshotOut]:
    """Of all storages that answer."""
    return [
        render.snapshot_out(name, one)
        for name, server in sorted(site.answering(site.snapshot()).items())
        for one in server.snapshots()
    ]


def show(site: Site, storage: str, name: str) -> SnapshotOut:
    return render.snapshot_out(storage, site.pageserver(site.snapshot(), storage).snapshot(name))


def put(
    site: Site, storage: str, name: str, from_: str, *, dry_run: bool = False
) -> tuple[SnapshotOut, bool] | Plan:
    """Make the snapshot (True), or find it as it was asked for (False)."""
    source = branches.settled_source(from_)
    return site.locks.run(
        f"put snapshot {storage}/{name} {from_} {dry_run}",
        lambda: _put(site, storage, name, source, dry_run=dry_run),
        alone=frozenset({f"snapshot/{storage}/{name}"}),
        shared=frozenset({f"storage/{storage}"}),
    )


def _put(
    site: Site, storage: str, name: str, source: Source, *, dry_run: bool
) -> tuple[SnapshotOut, bool] | Plan:
    site.refuse_while_stopping()
    snap = site.snapshot()
    # A full name needs no look at all branches; the pageserver says whether there is one.
    known = {} if source.storage is not None else branches.known(site, snap, storage, source)
    origin = branches.origin_of(snap, storage, source, known)
    fresh = not is_there(site.pageserver(snap, storage), name)
    steps = Plan((do.PutSnapshot(storage, name, origin, fresh=fresh),))
    if dry_run:
        return steps
    with site.execution(snap) as execution:
        execution.run(steps)
    return show(site, storage, name), fresh


def delete(site: Site, storage: str, name: str, *, dry_run: bool = False) -> Plan:
    """Branches that were made from it stay as they are. Raises `NotFound` if there is none."""

    def work() -> Plan:
        snap = site.snapshot()
        if not is_there(site.pageserver(snap, storage), name):
            raise NotFound(
                f'snapshot "{storage}/{name}" does not exist',
                hint="neon-compose snapshot list shows all there are.",
                code="no_snapshot",
            )
        steps = Plan((do.DropSnapshot(storage, name),))
        if not dry_run:
            with site.execution(snap) as execution:
                execution.run(steps)
        return steps

    return site.locks.run(
        f"delete snapshot {storage}/{name} {dry_run}",
        work,
        alone=frozenset({f"snapshot/{storage}/{name}"}),
        shared=frozenset({f"storage/{storage}"}),
    )


def is_there(pageserver: Pageserver, name: str) -> bool:
    try:
        pageserver.snapshot(name)
    except NotFound:
        return False
    return True
