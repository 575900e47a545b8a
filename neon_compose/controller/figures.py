"""The stack in figures, for GET /metrics. Labels are names of what exists, never what a client sent."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from neon_compose import __version__
from neon_compose.controller import keeping
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.render import storage_state
from neon_compose.controller.site import Site
from neon_compose.engine.metered import MeteredEngine
from neon_compose.errors import NeonError
from neon_compose.metrics import Family, counter, gauge
from neon_compose.model.states import PgState
from neon_compose.wire.pageserver import ComputeStatus, StorageStatus
from neon_compose.wire.rest import StorageState

log = logging.getLogger(__name__)

Answer = tuple[StorageStatus, list[ComputeStatus]]


def families(site: Site) -> list[Family]:
    """All of them; the pageservers are asked beside each other, and one that doesn't answer is `up` 0."""
    snap = site.snapshot()
    servers = site.answering(snap)
    asked = zip(servers, site.workers.map(_answer, servers.values()), strict=True)
    answers = {storage: answer for storage, answer in asked if answer is not None}
    found = [_about(site), *_of_stack(site, snap, answers), *_of_storages(snap, answers), *_of_pgs(answers)]
    branches = {one.branch_id: _labels(name, one) for name, (_, some) in answers.items() for one in some}
    found += keeping.families(snap, keeping.statuses(site, snap), branches)
    if isinstance(site.engine, MeteredEngine):
        found += site.engine.families()
    return found


def _answer(pageserver: Pageserver) -> Answer | None:
    try:
        return pageserver.status(), pageserver.computes()
    except NeonError as error:
        log.warning("a pageserver gives no figures: %s", error.message)
        return None


def _about(site: Site) -> Family:
    labels = {"stack": site.stack, "version": __version__}
    return gauge("build_info", "1; which stack and version this is.", (labels, 1))


def _of_stack(site: Site, snap: Snapshot, answers: dict[str, Answer]) -> list[Family]:
    pgs = Counter(
        snap.pg_state(doc, busy=site.locks.work_on(f"pg/{name}") is not None)
        for name, doc in snap.desired.pgs.items()
    )
    storages = Counter(
        storage_state(snap.pageserver(name), answers[name][0] if name in answers else None)
        for name in snap.desired.storages
    )
    containers = Counter((one.component, one.state) for one in snap.world.containers if one.component)
    told = site.events.counts.copy()
    return [
        gauge("pgs", "Pgs by state.", *(({"state": one}, pgs[one]) for one in PgState)),
        gauge("storages", "Storages by state.", *(({"state": one}, storages[one]) for one in StorageState)),
        gauge(
            "containers",
            "Containers of the stack by component and the engine's word for their state.",
            *(({"component": str(of), "state": state}, n) for (of, state), n in sorted(containers.items())),
        ),
        gauge("free_ports", "Published ports that no pg has.", ({}, len(snap.free_ports()))),
        gauge("problems", "What could not be brought up the last time.", ({}, len(site.problems))),
        gauge("event_followers", "Clients that follow the events.", ({}, site.events.followers)),
        counter("events_total", "Events told, by kind.", *(({"kind": kind}, n) for kind, n in told.items())),
    ]


def _of_storages(snap: Snapshot, answers: dict[str, Answer]) -> list[Family]:
    def figures(name: str, help_: str, of: dict[str, float]) -> Family:
        return gauge(name, help_, *(({"storage": storage}, value) for storage, value in sorted(of.items())))

    up = {name: float(name in answers) for name in snap.desired.storages}
    statuses = {name: status for name, (status, _) in answers.items()}
    return [
        figures("pageserver_up", "1 if the pageserver of the storage answers.", up),
        figures(
            "storage_size_bytes",
            "Bytes that layers and documents of the storage take on disk.",
            {name: one.size_bytes for name, one in statuses.items()},
        ),
        figures("storage_branches", "Branches.", {n: len(one.branches) for n, one in statuses.items()}),
        figures("storage_snapshots", "Snapshots.", {n: len(one.snapshots) for n, one in statuses.items()}),
        figures(
            "storage_redo_lag_bytes",
            "Committed WAL after the newest layer, of the branch that has most.",
            {name: one.redo_lag_bytes for name, one in statuses.items()},
        ),
        figures(
            "storage_redo_failing",
            "Branches whose last redo job ended with an error.",
            {name: one.redo_failing for name, one in statuses.items()},
        ),
        figures(
            "storage_busy",
            "1 while the storage is made or imported.",
            {name: float(one.busy is not None) for name, one in statuses.items()},
        ),
    ]


def _of_pgs(answers: dict[str, Answer]) -> list[Family]:
    computes = [(name, one) for name, (_, found) in sorted(answers.items()) for one in found]

    def figures(name: str, help_: str, value: Callable[[ComputeStatus], float]) -> Family:
        return gauge(name, help_, *((_labels(storage, one), value(one)) for storage, one in computes))

    return [
        figures(
            "branch_own_bytes", "Bytes that the branch of a pg has of its own.", lambda one: one.own_bytes
        ),
        figures(
            "pg_has_writes", "1 if the pg has written since its branch began.", lambda one: one.has_writes
        ),
        figures(
            "pg_settling",
            "1 while a commit survives a kill, but not yet a power cut.",
            lambda one: one.settling,
        ),
        figures(
            "pg_doubtful",
            "1 if the pg's data is not known to have survived a power cut.",
            lambda one: one.doubtful,
        ),
    ]


def _labels(storage: str, one: ComputeStatus) -> dict[str, str]:
    return {"pg": one.pg, "storage": storage, "branch": one.branch or ""}
