"""What we ask of a container engine, and the words for it.

`Runtime` makes and ends things, `Reader` looks into them, `engine.watching` follows what goes on; `Engine`
is all three. tests/fakes.py has an in-memory engine, `engine.docker` the real one, and the suites of
tests/contract run on both.

Every method may raise `Unavailable` (the engine is gone). Nothing here waits for a program inside a
container: that is `neon_compose.wait` with a probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Protocol

from neon_compose.engine import labels as label
from neon_compose.engine.watching import Watcher
from neon_compose.model.states import Component


class Kind(StrEnum):
    CONTAINER = "container"
    NETWORK = "network"
    VOLUME = "volume"


EVERYTHING = (Kind.CONTAINER, Kind.NETWORK, Kind.VOLUME)


class ContainerState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


# ---- specs: what should be -----------------------------------------------------------------------


@dataclass(frozen=True)
class Mount:
    """A volume (`source` has no slash), or a folder or file of the engine's machine, which must exist."""

    source: str
    target: str
    read_only: bool = False

    @property
    def is_bind(self) -> bool:
        return self.source.startswith("/")


@dataclass(frozen=True)
class Publish:
    """`port` inside is `port` on `address` of the engine's machine, unless `host_port` says otherwise."""

    port: int
    address: str = "127.0.0.1"
    host_port: int | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """A container. Defaults are ours: uid 10001, no capabilities, no new privileges, an init, bounded logs
    and processes.

    `network` joins a network by name (with `ip` and `aliases`), "host" and "none" are the engine's own;
    `network_of` joins the namespace of the container with that name. At most one of the two.
    """

    name: str
    image: str
    component: Component | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)  # path -> options, say "rw,size=64m,mode=1777"
    network: str | None = None
    network_of: str | None = None
    ip: str | None = None
    aliases: tuple[str, ...] = ()
    publish: tuple[Publish, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    user: str = "10001:10001"
    group_add: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    shm_bytes: int | None = None
    read_only: bool = False
    restart: str = "no"  # or "unless-stopped": its program is started again whenever it ends, but by `stop`
    stop_signal: str | None = None
    stop_timeout_s: int | None = None
    init: bool = True
    processes: int = 4096  # and threads. Of one default Postgres: 120; of a machine, often 32,768


@dataclass(frozen=True)
class VolumeSpec:
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkSpec:
    """A bridge network. `dynamic` is the part of `subnet` that unfixed addresses come from.

    `members` are containers to join to it, name -> aliases.
    """

    name: str
    subnet: str
    dynamic: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# ---- observations: what is -----------------------------------------------------------------------


@dataclass(frozen=True)
class Endpoint:
    """A container's place in a network. `id` is another one after every start; "" while not running."""

    network: str
    ip: str
    id: str


_COMPONENTS: Mapping[str, Component] = {one.value: one for one in Component}


@dataclass(frozen=True)
class Container:
    name: str
    id: str
    image: str
    state: ContainerState
    labels: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()  # a volume's source is its mountpoint on the engine's machine
    endpoints: tuple[Endpoint, ...] = ()
    published: tuple[int, ...] = ()  # ports on the engine's machine
    created_at: datetime | None = None

    @property
    def stack(self) -> str | None:
        return self.labels.get(label.STACK)

    @property
    def component(self) -> Component | None:
        return _COMPONENTS.get(self.labels.get(label.COMPONENT, ""))

    @property
    def running(self) -> bool:
        return self.state is ContainerState.RUNNING

    @property
    def goes_on(self) -> bool:
        """Whether it runs, or the engine is about to start it again by its restart policy."""
        return self.state in (ContainerState.RUNNING, ContainerState.RESTARTING)

    def source_of(self, target: str) -> str | None:
        """The engine-side path that is mounted at `target`."""
        return next((mount.source for mount in self.mounts if mount.target == target), None)


@dataclass(frozen=True)
class Network:
    name: str
    id: str
    labels: Mapping[str, str]
    subnets: tuple[str, ...]


@dataclass(frozen=True)
class Volume:
    name: str
    mountpoint: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """What the engine had at one moment."""

    containers: tuple[Container, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()

    def container(self, name: str) -> Container | None:
        return next((one for one in self.containers if one.name == name), None)

    def of(self, component: Component) -> tuple[Container, ...]:
        return self._by_component.get(component, ())

    @cached_property
    def _by_component(self) -> Mapping[Component, tuple[Container, ...]]:
        found: dict[Component, list[Container]] = {}
        for one in self.containers:
            if one.component is not None:
                found.setdefault(one.component, []).append(one)
        return {component: tuple(some) for component, some in found.items()}

    def volume(self, name: str) -> Volume | None:
        return next((one for one in self.volumes if one.name == name), None)


class Runtime(Protocol):
    """Makes and ends containers, networks and volumes; finds them by label."""

    def observe(self, stack: str | None, kinds: tuple[Kind, ...] = EVERYTHING) -> World:
        """Everything labelled with `stack`, or all there is for None; one call to the engine per kind."""

    def ensure_volume(self, spec: VolumeSpec) -> Volume:
        """The volume, made if it isn't there. Repeat is success; its content is never touched."""

    def ensure_network(self, spec: NetworkSpec) -> Network:
        """The network, made if it isn't there, with all of `spec.members` joined.

        An existing network of this name is kept with the subnet it has. `Conflict` (code
        "subnet_taken") if the engine says the subnet overlaps another network's.
        """

    def create(self, spec: ContainerSpec) -> None:
        """Create, don't start. `Conflict` (code "exists") if the name is taken, `NotFound` (code
        "image_missing", "path_missing") if the image or a mounted folder isn't there; `Invalid` (code
        "bad_path") for a path that can't be one."""

    def start(self, name: str) -> None:
        """Start; a paused one goes on; of a running one: success. `NotFound`, also of what `network_of`
        names; `Conflict` (code "port_taken"): the message names the container that has the port, or another
        process."""

    def stop(self, name: str, timeout_s: float) -> None:
        """Send the stop signal, kill after `timeout_s`. Of a stopped or absent one: success."""

    def remove(self, kind: Kind, name: str) -> None:
        """Remove; a running container is killed first. Of an absent one: success.

        `Conflict` (code "in_use") for a volume or network that something still uses.
        """

    def wait(self, name: str, timeout_s: float) -> int:
        """Block until the container isn't running, and give its exit code. `TimedOut`, `NotFound`."""


class Reader(Protocol):
    """Looks into containers."""

    def logs(self, name: str, tail: int = 20) -> list[str]:
        """The last lines of stdout and stderr. `NotFound`."""

    def follow(self, name: str, tail: int = 20) -> Iterator[str]:
        """The last lines and then those that come, until the container ends."""

    def read_archive(self, name: str, path: str) -> Iterator[bytes]:
        """`path` inside a container, running or only created, as a tar stream. `NotFound`."""


class Engine(Runtime, Reader, Watcher, Protocol):
    """All three."""
