"""Pods: containers that hold a network namespace and publish ports which computes join.

Publishing is most of what starting a container costs, so it is done ahead: one pod with free ports is
kept ready. A pg's port is reserved in memory while its request runs, and by its document after.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network

from neon_compose.controller import network, ports, specs
from neon_compose.controller import steps as do
from neon_compose.controller.desired import PgDoc
from neon_compose.controller.observe import Pod, Snapshot
from neon_compose.controller.ports import Ports
from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.engine.labels import component_labels
from neon_compose.engine.runtime import Container, ContainerState, Endpoint, Kind
from neon_compose.errors import Conflict, NeonError, Unavailable
from neon_compose.model.states import Component

log = logging.getLogger(__name__)

_ATTEMPTS = 8
_FEW = 4  # free ports left that make the next pod


@contextmanager
def reserved_port(site: Site, snap: Snapshot, asked: int | None, pg: str) -> Iterator[tuple[int, Snapshot]]:
    """A port for `pg` that no other request gets meanwhile, and a snapshot in which its pod runs.

    `Conflict` (code "port_taken") names who has `asked`. A pod made for `asked` alone goes again if the
    request fails. Where a pod is ready, as it should be, this costs no call to the engine.
    """
    port = _reserve(site, snap, asked, pg)
    made: str | None = None
    try:
        pod = snap.pod_of(port)
        if pod is None or not pod.running:
            made = _ensure_pod_of(site, port)
            snap = site.snapshot()
        yield port, snap
    except BaseException:
        if made is not None:
            site.engine.remove(Kind.CONTAINER, made)
        raise
    finally:
        with site.ports_mutex:
            site.reserved_ports.discard(port)


def previewed_port(snap: Snapshot, asked: int | None, pg: str) -> tuple[int, Snapshot, Plan]:
    """For a dry run: the port, a snapshot in which its pod runs, and the step that would make it so."""
    owners = {doc.port: doc.name for doc in snap.desired.pgs.values()}
    port = _pick(snap, owners, set(), asked, pg) or ports.FIRST
    pod = snap.pod_of(port)
    if pod is not None and pod.running:
        return port, snap, Plan()
    name = pod.name if pod is not None else f"{snap.stack}_pod_*"
    imagined = Container(
        name=name,
        id="",
        image="",
        state=ContainerState.RUNNING,
        labels=component_labels(snap.stack, Component.POD, pod="0", ports=str(port)),
        endpoints=(Endpoint(specs.network_name(snap.stack), "0.0.0.0", "imagined"),),
    )
    others = tuple(one for one in snap.world.containers if one.name != name)
    world = replace(snap.world, containers=(*others, imagined))
    return port, replace(snap, world=world), Plan((do.MakePod(name, why=f"no running pod has port {port}"),))


def _reserve(site: Site, snap: Snapshot, asked: int | None, pg: str) -> int:
    for _ in range(_ATTEMPTS):
        with site.ports_mutex:
            # Read now: a request that has ended since `snap` was taken has its port in its document.
            owners = {doc.port: doc.name for doc in site.documents.read().pgs.values()}
            port = _pick(snap, owners, site.reserved_ports, asked, pg)
            if port is not None:
                site.reserved_ports.add(port)
                return port
        top_up(site, at_least=1)
        snap = site.snapshot()
    raise Unavailable("no free port was found", code="no_ports")


def _pick(
    snap: Snapshot, owners: Mapping[int, str], reserved: set[int], asked: int | None, pg: str
) -> int | None:
    if asked is None:
        taken = owners.keys() | reserved
        return next((port for port in snap.free_ports() if port not in taken), None)
    owner = owners.get(asked)
    if owner not in (None, pg) or asked in reserved:
        raise Conflict(
            f"port {asked} is taken by " + (f'pg "{owner}"' if owner else "a pg that is being made"),
            hint="Ask for another one, or for none.",
            code="port_taken",
        )
    return asked


def _ensure_pod_of(site: Site, port: int) -> str | None:
    """The name of the one-port pod this made, None if a pod with `port` was there."""
    with site.pods_mutex:
        pod = site.snapshot().pod_of(port)
        if pod is None:
            return _make_pod(site, (port,))
        wanted = {doc.port: doc for doc in site.documents.read().pgs.values()}
        for error in _restart(site, pod, wanted).values():
            raise error
        return None


def top_up(site: Site, at_least: int = _FEW) -> None:
    """Make a pod of 16 if fewer than `at_least` ports are free. `Unavailable` if there are no 16 in a row."""
    with site.pods_mutex:
        snap = site.snapshot()
        if len([port for port in snap.free_ports() if port not in site.reserved_ports]) >= at_least:
            return
        _make_pool_pod(site, snap)


def trim(site: Site) -> None:
    """Remove pods that no pg uses, but for one of several ports: publishing ports is slow to undo."""
    with site.pods_mutex:
        while (pod := _retire(site)) is not None:
            try:
                site.engine.remove(Kind.CONTAINER, pod.name)
            finally:
                with site.ports_mutex:
                    site.reserved_ports -= set(pod.ports)


def _retire(site: Site) -> Pod | None:
    """An idle pod that is one too many; nobody gets a port of it from now on."""
    with site.ports_mutex:
        snap = site.snapshot()
        used = snap.used_ports() | site.reserved_ports
        alone = next((pod for pod in snap.pods() if len(pod.ports) == 1 and pod.ports[0] not in used), None)
        if alone is not None:  # its maker died before its pg's document was written, or after that went
            site.reserved_ports |= set(alone.ports)
            return alone
        free = set(snap.free_ports()) - site.reserved_ports
        idle = [pod for pod in snap.pods() if len(pod.ports) > 1 and free.issuperset(pod.ports)]
        if len(idle) < 2:
            return None
        site.reserved_ports |= set(idle[-1].ports)
        return idle[-1]


def _make_pool_pod(site: Site, snap: Snapshot) -> None:
    view = network.look_at_host(site.engine, site.stack, site.image("base"))
    everywhere = site.engine.observe(None, (Kind.CONTAINER,)).containers
    taken = set(view.listening) | {port for one in everywhere for port in one.published}
    taken |= {port for pod in snap.pods() for port in pod.ports}
    taken |= {port for pg in snap.desired.pgs.values() for port in ports.parse_ports(pg.ports)}
    for _ in range(_ATTEMPTS):
        block = ports.free_block(taken)
        try:
            _make_pod(site, block)
            return
        except Conflict as error:
            if error.code != "port_taken":
                raise
            taken |= _port_named(error, block)  # somebody was faster
    raise Unavailable("no 16 free ports in a row were found", code="no_ports")


def _port_named(error: NeonError, block: Ports) -> set[int]:
    said = [port for port in block if str(port) in error.message]
    return set(said or block)


def _make_pod(site: Site, block: Ports) -> str:
    """Create and start; nothing stays if it can't start."""
    pods = site.engine.observe(site.stack, (Kind.CONTAINER, Kind.NETWORK))
    subnet = next((IPv4Network(one.subnets[0]) for one in pods.networks if one.subnets), None)
    if subnet is None:
        raise Unavailable("the stack has no network", hint="neon-compose up -d makes it.", code="no_network")
    used = {int(one.labels["dev.neon-compose.pod"]) for one in pods.of(Component.POD)}
    number = next(n for n in range(len(used) + 1) if n not in used)
    spec = specs.pod_spec(site.stack, number, block, site.image("base"), subnet, bind_of(site))
    try:
        site.engine.create(spec)
        site.engine.start(spec.name)
    except BaseException as error:
        if getattr(error, "code", "") != "exists":  # somebody else's: not ours to remove
            site.engine.remove(Kind.CONTAINER, spec.name)
        raise
    return spec.name


def bind_of(site: Site) -> str:
    return str(site.documents.read().stack.config.get("bind") or "127.0.0.1")


def restore(site: Site, docs: Iterable[PgDoc]) -> dict[str, NeonError]:
    """Pods for all `docs` exist and run; pg -> error for those whose port somebody else has now."""
    failed: dict[str, NeonError] = {}
    with site.pods_mutex:
        docs = list(docs)
        wanted = {doc.port: doc for doc in docs}
        for pod in site.snapshot().pods():
            if not pod.running:
                failed |= _restart(site, pod, wanted)
        for doc in docs:
            if doc.name not in failed and site.snapshot().pod_of(doc.port) is None:
                failed |= _remake(site, ports.parse_ports(doc.ports), wanted)
    return failed


def _restart(site: Site, pod: Pod, wanted: dict[int, PgDoc]) -> dict[str, NeonError]:
    """A start brings no pod back into a network that it was taken out of: such a one is made anew."""
    if pod.lost:
        site.engine.remove(Kind.CONTAINER, pod.name)
        return _remake(site, pod.ports, wanted)
    try:
        site.engine.start(pod.name)
        return {}
    except Conflict as error:
        if error.code != "port_taken":
            raise
        site.engine.remove(Kind.CONTAINER, pod.name)
        return _remake(site, pod.ports, wanted)


def _remake(site: Site, block: Ports, wanted: dict[int, PgDoc]) -> dict[str, NeonError]:
    """A pod with as many ports of `block` as are free."""
    failed: dict[str, NeonError] = {}
    left = set(block)
    while left & wanted.keys():
        try:
            _make_pod(site, tuple(sorted(left)))
            return failed
        except Conflict as error:
            if error.code != "port_taken":
                raise
            lost = _port_named(error, tuple(sorted(left)))
            failed |= {wanted[port].name: error for port in lost if port in wanted}
            left -= lost
    return failed
