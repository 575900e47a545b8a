"""Snapshots and what pageservers know as the messages of the public API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from neon_compose.controller.desired import PgDoc, StorageDoc
from neon_compose.controller.observe import Snapshot
from neon_compose.engine.labels import PG, PORTS, STORAGE
from neon_compose.engine.runtime import Container
from neon_compose.errors import NeonError
from neon_compose.model.states import Component, Durability, PgState
from neon_compose.wire.pageserver import Branch, ComputeStatus, Credentials, StorageStatus
from neon_compose.wire.pageserver import Snapshot as PageserverSnapshot
from neon_compose.wire.rest import (
    BranchOut,
    ComponentOut,
    PgOut,
    PgUrl,
    SnapshotOut,
    StorageOut,
    StorageState,
)

ADMIN = "neon_admin"
DATABASE = "postgres"
_NOTES = {
    Durability.LOCAL: 'durability is "local": commits wait for this compute\'s own disk alone',
    Durability.OFF: 'durability is "off": a crash of the machine loses this compute\'s writes',
    Durability.QUORUM: None,
}


def pg_out(
    snap: Snapshot,
    doc: PgDoc,
    status: ComputeStatus | None = None,
    *,
    state: PgState | None = None,
    work: str | None = None,
    more: str | None = None,
) -> PgOut:
    """`status` is None if its pageserver does not answer or knows no such compute; `work` is what a request
    does to the pg right now."""
    pod = snap.pod_of(doc.port)
    restart = snap.restart_for(doc)
    state = state or snap.pg_state(doc, busy=work is not None)
    news = f"a restart brings {restart}" if restart else None
    going = f"it is being destroyed: its name and port {doc.port} are free after that"
    notes = [
        note
        for note in (
            going if work == "destroy" else None,
            more,
            _failure(snap, doc, state, status),
            news,
            _NOTES[doc.durability],
        )
        if note
    ]
    return PgOut(
        name=doc.name,
        storage_name=doc.storage_name,
        branch=doc.branch,
        from_=doc.from_,
        state=state,
        port=doc.port,
        durability=doc.durability,
        settings=doc.settings,
        restart_needed=restart is not None,
        settling=status.settling if status else None,
        has_writes=status.has_writes if status else None,
        own_bytes=status.own_bytes if status else None,
        note="; ".join(notes) or None,
        url=f"postgres://{ADMIN}@{host_of(snap)}:{doc.port}/{DATABASE}",
        created_at=doc.created_at,
        pod=pod.name if pod else None,
    )


def _failure(snap: Snapshot, doc: PgDoc, state: PgState, status: ComputeStatus | None) -> str | None:
    if state is not PgState.FAILED:
        return None
    if status is not None and status.doubtful:
        return f"its data is doubtful: neon-compose pg start {doc.name} says why, and what can be done"
    return f"{snap.pg_failure(doc)}: neon-compose pg start {doc.name} brings it back"


def pg_url(snap: Snapshot, doc: PgDoc, credentials: Credentials, status: ComputeStatus | None) -> PgUrl:
    """With the password. `direct` and `socket` only while there is something to connect to."""
    who = f"{quote(credentials.role)}:{quote(credentials.password, safe='')}"
    database = quote(credentials.database)
    pod, server = snap.pod_of(doc.port), snap.pageserver(doc.storage_name)
    work = server.source_of("/work") if server else None
    socket = None
    if status is not None and work is not None:
        folder = quote(f"{work}/pg/{doc.name}/{status.generation}/run", safe="")
        socket = f"postgres://{who}@{folder}:{doc.port}/{database}"
    return PgUrl(
        url=f"postgres://{who}@{host_of(snap)}:{doc.port}/{database}",
        direct=f"postgres://{who}@{pod.ip}:{doc.port}/{database}" if pod and pod.ip else None,
        socket=socket,
    )


def host_of(snap: Snapshot) -> str:
    """The address clients use: what ports are bound to, the loopback if that is every address."""
    bind = str(snap.desired.stack.config.get("bind") or "127.0.0.1")
    if bind in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{bind}]" if ":" in bind else bind


def storage_out(
    snap: Snapshot, doc: StorageDoc, answer: StorageStatus | NeonError | None, note: str | None = None
) -> StorageOut:
    """`answer` is its pageserver's, None if that does not run."""
    status = answer if isinstance(answer, StorageStatus) else None
    if isinstance(answer, NeonError):
        note = " ".join(filter(None, (f"{answer.message}.", answer.detail)))
    return StorageOut(
        name=doc.name,
        type=doc.type,
        path=doc.host_path,
        state=storage_state(snap.pageserver(doc.name), status),
        storage_id=status.storage_id if status else None,
        postgres=status.postgres_major if status else None,
        imported=doc.imported,
        history=doc.history,
        history_size=doc.history_size,
        history_from=status.history_from if status else None,
        default_database=status.default_database if status else None,
        branches=status.branches if status else [],
        snapshots=status.snapshots if status else [],
        size_bytes=status.size_bytes if status else None,
        created_at=doc.created_at,
        note=note or _half(doc),
    )


def _half(doc: StorageDoc) -> str | None:
    if doc.attaching:
        return "it is being attached"
    return "it is being detached" if doc.ending else None


def storage_state(container: Container | None, status: StorageStatus | None) -> StorageState:
    if container is None:
        return StorageState.MISSING
    if not container.running:
        return StorageState.STOPPED
    return StorageState.RUNNING if status is not None else StorageState.FAILED


def branch_out(storage: str, branch: Branch, own_bytes: int | None = None) -> BranchOut:
    return BranchOut(
        storage_name=storage,
        name=branch.name,
        id=branch.id,
        parent=branch.parent,
        snapshot=branch.snapshot,
        start_lsn=branch.start_lsn,
        own_bytes=own_bytes,
        wal_bytes=branch.redo_lag_bytes,
        writer=branch.writer,
        has_writes=branch.has_writes,
        created_at=branch.created_at,
        protected=branch.protected,
        expires=branch.expires,
        redo_lag_bytes=branch.redo_lag_bytes,
        redo=branch.redo,
    )


def snapshot_out(storage: str, snapshot: PageserverSnapshot) -> SnapshotOut:
    return SnapshotOut(
        storage_name=storage,
        name=snapshot.name,
        branch=snapshot.branch,
        lsn=snapshot.lsn,
        created_at=snapshot.created_at,
    )


def component_out(snap: Snapshot, one: Container, health: Mapping[str, bool]) -> ComponentOut:
    """`health` of those that can be asked, by container name."""
    component = one.component or Component.CONTROLLER
    image_of = {Component.POD: "base"}.get(component, component.value)
    return ComponentOut(
        name=one.name,
        component=component,
        image=one.image,
        state=one.state.value,
        healthy=health.get(one.name),
        storage=one.labels.get(STORAGE),
        pg=one.labels.get(PG),
        ports=one.labels.get(PORTS),
        address=snap.address(one),
        created_at=one.created_at,
        outdated=one.image != snap.images.get(image_of, one.image),
    )
