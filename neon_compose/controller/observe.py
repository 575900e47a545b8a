"""One frozen snapshot of what should exist (documents) and what does (containers, by label).

A snapshot costs one read of the documents and one call to the engine per kind asked for. Its methods
are pure. Nothing here knows what to do about what it sees: that is `plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from neon_compose.controller.desired import Desired, Documents, PgDoc, StorageDoc
from neon_compose.controller.ports import Ports, parse_ports
from neon_compose.controller.specs import network_name
from neon_compose.engine import labels as label
from neon_compose.engine.runtime import Container, Kind, Runtime, World
from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.states import Component, Durability, PgState, Wanted

Phase = Literal["starting", "stopping", "stopped"]  # of the whole stack


@dataclass(frozen=True)
class Pod:
    """A pod as seen: `ports` it publishes, `endpoint` changes when it restarts.

    `lost`: its container runs, but is not in a network any more, so that no client reaches its ports.
    """

    name: str
    number: int
    ports: Ports
    ip: str
    endpoint: str
    running: bool
    lost: bool = False


@dataclass(frozen=True)
class Snapshot:
    stack: str
    desired: Desired
    world: World
    state_path: str = ""  # the state volume's folder on the engine's machine
    phase: Phase | None = None

    # ---- documents

    @property
    def images(self) -> Mapping[str, str]:
        return self.desired.stack.images

    def storage(self, name: str) -> StorageDoc:
        doc = self.desired.storages.get(name)
        if doc is None:
            raise NotFound(
                f'storage "{name}" does not exist',
                hint=did_you_mean(name, self.desired.storages) or "No storage is attached.",
                code="no_such_storage",
            )
        if doc.attaching:
            raise Conflict(
                f'storage "{name}" is being attached', hint="Try again when it is done.", code="busy"
            )
        if doc.ending:
            raise Conflict(
                f'storage "{name}" is being detached',
                detail="That was begun and did not come to its end.",
                hint=f"Finish it: neon-compose storage detach -n {name}; the next up does too.",
                code="ending",
            )
        return doc

    def pg(self, name: str) -> PgDoc:
        doc = self.desired.pgs.get(name)
        if doc is None:
            raise NotFound(
                f'pg "{name}" does not exist',
                hint=did_you_mean(name, self.desired.pgs) or "There is no pg yet: neon-compose pg create.",
                code="no_such_pg",
            )
        return doc

    def image(self, component: str) -> str:
        tag = self.images.get(component)
        if not tag:
            raise Unavailable(
                f'no image is known for "{component}"',
                hint="neon-compose up builds it.",
                code="image_missing",
            )
        return tag

    # ---- containers

    def pageserver(self, storage: str) -> Container | None:
        return self._labelled(Component.PAGESERVER, label.STORAGE, storage)

    def safekeeper(self, number: int) -> Container | None:
        return self._labelled(Component.SAFEKEEPER, label.SAFEKEEPER, str(number))

    @property
    def safekeepers(self) -> range:
        """The numbers of those that the stack should have."""
        return range(1, self.desired.stack.safekeepers + 1)

    def compute(self, pg: str) -> Container | None:
        return self._computes.get(pg)

    def minio(self) -> Container | None:
        return next(iter(self.world.of(Component.MINIO)), None)

    def address(self, container: Container | None) -> str | None:
        """Its address in the stack's network, while it runs."""
        if container is None or not container.running:
            return None
        mine = (end.ip for end in container.endpoints if end.network == network_name(self.stack))
        return next(filter(None, mine), None)

    def pageserver_address(self, storage: str) -> str:
        """Where the pageserver of `storage` answers; `Unavailable` if it does not run."""
        self.storage(storage)
        address = self.address(self.pageserver(storage))
        if address is None:
            raise Unavailable(
                f'the pageserver of storage "{storage}" is not running',
                hint="neon-compose up -d starts it; neon-compose logs shows why it ended.",
                code="pageserver_down",
            )
        return address

    def pods(self) -> tuple[Pod, ...]:
        return self._pods

    def pod_of(self, port: int) -> Pod | None:
        return next((pod for pod in self.pods() if port in pod.ports), None)

    def free_ports(self) -> list[int]:
        """Ports that a running pod of several publishes and no pg has, ascending."""
        taken = self.used_ports()
        several = (pod for pod in self.pods() if pod.running and len(pod.ports) > 1)
        return sorted(port for pod in several for port in pod.ports if port not in taken)

    def used_ports(self) -> set[int]:
        """Of all pgs. A compute keeps the port it was started with until its restart, whatever its document
        says now."""
        running = (one for one in self.world.of(Component.COMPUTE) if one.running)
        return {pg.port for pg in self.desired.pgs.values()} | {_port(one) for one in running}

    def left_pod(self, doc: PgDoc) -> Pod | None:
        """The one-port pod of a port that `doc` no longer has."""
        compute = self.compute(doc.name)
        if compute is None or _port(compute) == doc.port:
            return None
        pod = self.pod_of(_port(compute))
        return pod if pod is not None and len(pod.ports) == 1 else None

    def cut_off(self, compute: Container) -> bool:
        """Whether its pod was restarted or is gone: the compute's namespace has no network any more."""
        pod = self.pod_of(_port(compute))
        return pod is None or not pod.running or pod.endpoint != compute.labels.get(label.ENDPOINT, "")

    def compute_host(self, pg: str) -> str:
        """Where the compute's pod is in the stack's network, "" if it has none that runs."""
        compute = self.compute(pg)
        pod = self.pod_of(_port(compute)) if compute is not None else None
        return pod.ip if pod is not None else ""

    def as_started(self, doc: PgDoc) -> PgDoc:
        """`doc` with the port and durability that its compute was started with."""
        compute = self.compute(doc.name)
        if compute is None:
            return doc
        durability = compute.labels.get(label.DURABILITY, doc.durability)
        return doc.model_copy(update={"port": _port(compute), "durability": Durability(durability)})

    def pg_state(self, doc: PgDoc, *, busy: bool = False) -> PgState:
        """`busy`: a request works on it right now."""
        compute = self.compute(doc.name)
        if compute is not None and compute.running and not self.cut_off(compute):
            return PgState.STARTING if busy and doc.wanted is Wanted.RUNNING else PgState.RUNNING
        if doc.wanted is Wanted.RUNNING and self.phase not in ("stopping", "stopped"):
            return PgState.STARTING if busy or self.phase == "starting" else PgState.FAILED
        return PgState.STOPPED if doc.started else PgState.CREATED

    def pg_failure(self, doc: PgDoc) -> str | None:
        """Why a pg that should run doesn't, as far as its containers tell."""
        compute = self.compute(doc.name)
        if compute is None:
            return "its container is gone"
        if not compute.running:
            return f"its container is {compute.state}"
        return "its pod was restarted, which cut off its network" if self.cut_off(compute) else None

    def restart_for(self, doc: PgDoc) -> str | None:
        """What a restart would bring to the running compute, None for nothing."""
        compute = self.compute(doc.name)
        if compute is None or not compute.running:
            return None
        if compute.labels.get(label.GIVEN) != doc.given:
            return "its changed settings"
        return None if compute.image == self.images.get("compute", compute.image) else "a newer image"

    @cached_property
    def _computes(self) -> Mapping[str, Container]:
        """By pg; of two, the first."""
        return {one.labels.get(label.PG, ""): one for one in reversed(self.world.of(Component.COMPUTE))}

    @cached_property
    def _pods(self) -> tuple[Pod, ...]:
        return tuple(sorted(map(_pod, self.world.of(Component.POD)), key=lambda pod: pod.number))

    def _labelled(self, component: Component, key: str, value: str) -> Container | None:
        return next((one for one in self.world.of(component) if one.labels.get(key) == value), None)


def observe(
    stack: str,
    documents: Documents,
    runtime: Runtime,
    state_path: str,
    phase: Phase | None = None,
    kinds: tuple[Kind, ...] = (Kind.CONTAINER,),
) -> Snapshot:
    """Documents first: what a concurrent request makes later has its document by then."""
    desired = documents.read()
    return Snapshot(stack, desired, runtime.observe(stack, kinds), state_path, phase)


def _port(compute: Container) -> int:
    return int(compute.labels.get(label.PORTS, "0"))


def _pod(container: Container) -> Pod:
    end = next((end for end in container.endpoints if end.id), None)
    there = end is not None and bool(end.ip)
    return Pod(
        name=container.name,
        number=int(container.labels.get(label.POD, "0")),
        ports=parse_ports(container.labels.get(label.PORTS, "")),
        ip=end.ip if end else "",
        endpoint=end.id if end else "",
        running=container.running and there,
        lost=container.running and not there,
    )
