"""What of the stack is there and shouldn't be: on the engine, in the state volume, in the storages.

Only looks, and finds things by label. What a running request works on looks the same as what a dead one
left: names that are locked are left out, and probes and pods count only while nothing runs at all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from neon_compose import durable
from neon_compose.controller import secrets, specs
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.site import Site
from neon_compose.engine import labels as label
from neon_compose.engine.runtime import EVERYTHING, Container, ContainerState, Volume
from neon_compose.errors import NeonError
from neon_compose.model.states import Component
from neon_compose.wire.rest import LeftoverOut

log = logging.getLogger(__name__)

_NAMED = (
    (Component.PAGESERVER, label.STORAGE),
    (Component.SAFEKEEPER, label.SAFEKEEPER),
    (Component.COMPUTE, label.PG),
)  # components of which there is one for each name, and the label that has it
_CUT_OFF = "was cut off: the next up finishes it"


@dataclass(frozen=True)
class _Known:
    """What is accounted for: names with a document or a running request; `quiet` if no request runs."""

    storages: frozenset[str]
    pgs: frozenset[str]
    busy: frozenset[str]
    quiet: bool
    reserved: frozenset[int]


def find(site: Site) -> list[LeftoverOut]:
    """One per thing. A pageserver that does not answer is left out."""
    busy, quiet = site.locks.names(), _is_quiet(site)
    snap = site.snapshot(EVERYTHING)
    servers = site.answering(snap)
    asked = {name: _ask(name, server) for name, server in servers.items()}
    after = site.documents.read()  # what a request has made meanwhile
    busy |= site.locks.names()
    known = _Known(
        frozenset(snap.desired.storages.keys() | after.storages.keys()) | _below(busy, "storage/"),
        frozenset(snap.desired.pgs.keys() | after.pgs.keys()) | _below(busy, "pg/"),
        busy,
        quiet and _is_quiet(site),
        frozenset(site.reserved_ports) | {pg.port for pg in after.pgs.values()},
    )
    found = [*_containers(snap, known), *_pods(snap, known), *_networks(snap), *_volumes(snap, known)]
    found += [*_documents(snap, known), *_files(site)]
    for name, (rows, owners) in asked.items():
        if f"storage/{name}" not in busy:
            found += rows
            found += [_data(name, pg) for pg in sorted(owners - known.pgs)]
    return found


def _is_quiet(site: Site) -> bool:
    return site.ready.is_set() and not site.locks.names() and not site.pods_mutex.locked()


def _below(names: frozenset[str], prefix: str) -> frozenset[str]:
    return frozenset(one.removeprefix(prefix) for one in names if one.startswith(prefix))


# ---- the engine


def _containers(snap: Snapshot, known: _Known) -> Iterator[LeftoverOut]:
    seen: Counter[tuple[str, str]] = Counter()
    for one in sorted(snap.world.containers, key=lambda one: one.name):
        key, name = _subject(one)
        seen[key, name] += 1
        why = _why_not(snap, known, one, name)
        if why is None and name and seen[key, name] > 1:
            why = f'another container is there for {key} "{name}"'
        if why is not None:
            yield _left("container", one.name, why)


def _subject(container: Container) -> tuple[str, str]:
    for component, key in _NAMED:
        if container.component is component:
            return key.removeprefix(label.PREFIX), container.labels.get(key, "")
    return "", ""


def _why_not(snap: Snapshot, known: _Known, container: Container, name: str) -> str | None:
    match container.component:
        case None:
            return "a probe that nobody waits for" if known.quiet else None
        case Component.PAGESERVER:
            return None if name in known.storages else f'there is no storage "{name}"'
        case Component.SAFEKEEPER:
            return None if name in map(str, snap.safekeepers) else _no_safekeeper(name)
        case Component.COMPUTE if name not in known.pgs:
            return f'there is no pg "{name}"'
        case Component.COMPUTE if f"pg/{name}" not in known.busy:
            return "it was made and never started" if container.state is ContainerState.CREATED else None
        case Component.MINIO:
            unwanted = snap.desired.stack.config.get("minio", True) is False and known.quiet
            return "the stack has no MinIO" if unwanted else None
        case _:
            return None


def _pods(snap: Snapshot, known: _Known) -> Iterator[LeftoverOut]:
    """Pods no pg has a port in, but for one of several ports, which is kept ready."""
    if not known.quiet:
        return
    used = known.reserved | snap.used_ports()
    idle = [pod for pod in snap.pods() if used.isdisjoint(pod.ports)]
    ready = next((pod for pod in idle if len(pod.ports) > 1), None)
    for pod in idle:
        if pod is not ready:
            yield _left("container", pod.name, "no pg has a port of this pod")


def _networks(snap: Snapshot) -> Iterator[LeftoverOut]:
    for network in snap.world.networks:
        if network.name != specs.network_name(snap.stack):
            yield _left("network", network.name, "the stack has another network")


def _volumes(snap: Snapshot, known: _Known) -> Iterator[LeftoverOut]:
    """A detached storage's data is kept on purpose, its work volume is not."""
    always = {specs.state_volume(snap.stack), specs.minio_volume(snap.stack).name}
    always |= {specs.safekeeper_volume(snap.stack, number).name for number in snap.safekeepers}
    for volume in snap.world.volumes:
        storage = volume.labels.get(label.STORAGE, "")
        if volume.name not in always and not _is_kept(snap, volume, storage, known):
            yield _left("volume", volume.name, _why_no_volume(volume, storage))


def _why_no_volume(volume: Volume, storage: str) -> str:
    if (number := volume.labels.get(label.SAFEKEEPER)) is not None:
        return _no_safekeeper(number)
    return f'there is no storage "{storage}"' if storage else "nothing of the stack has this name"


def _no_safekeeper(number: str) -> str:
    return f"the stack has no safekeeper {number}"


def _is_kept(snap: Snapshot, volume: Volume, storage: str, known: _Known) -> bool:
    if not storage:
        return False
    data, work = specs.storage_volume(snap.stack, storage).name, specs.work_volume(snap.stack, storage).name
    return volume.name == data or (volume.name == work and storage in known.storages)


# ---- the state volume


def _documents(snap: Snapshot, known: _Known) -> Iterator[LeftoverOut]:
    for storage in snap.desired.storages.values():
        if f"storage/{storage.name}" in known.busy:
            continue
        if storage.attaching:
            yield _left(
                "document", f"storage {storage.name}", "its attach was cut off: the next up undoes it"
            )
        elif storage.ending:
            yield _left("document", f"storage {storage.name}", f"its detach {_CUT_OFF}")
    for one in snap.desired.forgetting:
        if f"storage/{one.storage}" not in known.busy:
            why = "a safekeeper that was down has its WAL: it forgets that when it is back"
            yield _left("wal", f"purged storage {one.storage}", why)
    for pg in snap.desired.pgs.values():
        if pg.storage_name not in known.storages:
            yield _left("document", f"pg {pg.name}", f'there is no storage "{pg.storage_name}"')
        elif pg.ending and f"pg/{pg.name}" not in known.busy:
            yield _left("document", f"pg {pg.name}", f"its destroy {_CUT_OFF}")


def _files(site: Site) -> Iterator[LeftoverOut]:
    root = site.documents.root
    for folder in (root, root / "storages", root / "pgs", root / "forgetting", root / secrets.FOLDER):
        for path in durable.abandoned(folder):
            yield _left("file", str(path.relative_to(root)), "its writer died")


# ---- the storages


def _ask(name: str, server: Pageserver) -> tuple[list[LeftoverOut], set[str]]:
    """What the pageserver of storage `name` finds, and the pgs it has data or a branch of."""
    try:
        found = [LeftoverOut(storage_name=name, **one.model_dump()) for one in server.leftovers()]
        owners = {one.pg for one in server.computes()}
        owners |= {one.writer for one in server.branches() if one.writer is not None}
    except NeonError as error:
        log.warning("a pageserver does not tell its leftovers: %s", error.message)
        return [], set()
    return found, owners


def _data(storage: str, pg: str) -> LeftoverOut:
    return LeftoverOut(kind="compute data", name=pg, why=f'there is no pg "{pg}"', storage_name=storage)


def _left(kind: str, name: str, why: str) -> LeftoverOut:
    return LeftoverOut(kind=kind, name=name, why=why)
