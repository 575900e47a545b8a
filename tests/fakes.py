"""An in-memory stand-in for the engine: a real class with the real one's contract."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

from neon_compose.controller import folder
from neon_compose.engine import labels as label
from neon_compose.engine.refusals import port_taken
from neon_compose.engine.runtime import (
    EVERYTHING,
    Container,
    ContainerSpec,
    ContainerState,
    Endpoint,
    Kind,
    Mount,
    Network,
    NetworkSpec,
    Volume,
    VolumeSpec,
    World,
)
from neon_compose.engine.watching import Change, ContainerEvent, Line, stamp_of
from neon_compose.errors import Conflict, NotFound, TimedOut
from neon_compose.model.states import Component
from tests.fakes_watching import FakeWatching
from tests.faults import Faults

VOLUMES = "/var/lib/docker/volumes"


@dataclass
class _Box:
    """A container."""

    spec: ContainerSpec
    id: str
    state: ContainerState = ContainerState.CREATED
    endpoint: str = ""
    exit_code: int = 0
    lines: list[str] = field(default_factory=list)
    early: set[int] = field(default_factory=set)  # places of lines stamped before the one they stand behind
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    joined: dict[str, str] = field(default_factory=dict)  # network -> ip


Program = Callable[[ContainerSpec], tuple[int, list[str]] | None]


class FakeEngine:
    """`Runtime` and `Reader` in memory. `host` is a folder that stands for the machine's root.

    `program` says how a started container behaves: exit code and lines, or None for one that stays up.
    `taken` are ports that somebody has who is no container.
    """

    def __init__(self, host: Path | None = None, faults: Faults | None = None) -> None:
        self.boxes: dict[str, _Box] = {}
        self.nets: dict[str, tuple[str, NetworkSpec]] = {}
        self.vols: dict[str, VolumeSpec] = {}
        self.host = host
        self.faults = faults or Faults()
        self.images: set[str] | None = None
        self.taken: set[int] = set()
        self.program: Program = lambda _: None
        self.said: list[str] = []  # by every compute that starts
        self.host_view: list[str] = []
        self.removed_volume: Callable[[str], None] = lambda _: None
        self.calls: list[str] = []
        self.made: list[ContainerSpec] = []  # every container there ever was
        self.told: list[ContainerEvent] = []
        self._ids = itertools.count(1)
        self._mutex = threading.RLock()
        self.news = threading.Condition(self._mutex)

    # ---- Runtime

    def observe(self, stack: str | None, kinds: tuple[Kind, ...] = EVERYTHING) -> World:
        with self._mutex:
            self.calls.append("observe")

            def mine(labels: Mapping[str, str]) -> bool:
                return stack is None or labels.get(label.STACK) == stack

            return World(
                tuple(self._container(box) for box in self.boxes.values() if mine(box.spec.labels))
                if Kind.CONTAINER in kinds
                else (),
                tuple(_network(net, one) for net, one in self.nets.values() if mine(one.labels))
                if Kind.NETWORK in kinds
                else (),
                tuple(_volume(one) for one in self.vols.values() if mine(one.labels))
                if Kind.VOLUME in kinds
                else (),
            )

    def ensure_volume(self, spec: VolumeSpec) -> Volume:
        with self._change(f"ensure volume {spec.name}"):
            return _volume(self.vols.setdefault(spec.name, spec))

    def ensure_network(self, spec: NetworkSpec) -> Network:
        with self._change(f"ensure network {spec.name}"):
            wanted = IPv4Network(spec.subnet)
            for name, (_, other) in self.nets.items():
                if name != spec.name and IPv4Network(other.subnet).overlaps(wanted):
                    raise Conflict("the subnet overlaps with another network's", code="subnet_taken")
            self.nets.setdefault(spec.name, (self._id(), spec))
            for member in spec.members:
                self._box(member).joined.setdefault(spec.name, self._ip(spec.name))
            return _network(*self.nets[spec.name])

    def create(self, spec: ContainerSpec) -> None:
        with self._change(f"create {spec.name}"):
            if spec.name in self.boxes:
                raise Conflict(f'container "{spec.name}" exists already', code="exists")
            if self.images is not None and spec.image not in self.images:
                raise NotFound(f'image "{spec.image}" does not exist', code="image_missing")
            for mount in spec.mounts:
                self._check_mount(mount)
            self.made.append(spec)
            self.boxes[spec.name] = _Box(spec, self._id())
            self._tell(Change.CREATED, spec.name)

    def start(self, name: str) -> None:
        with self._change(f"start {name}"):
            box = self._box(name)
            if box.state in (ContainerState.RUNNING, ContainerState.PAUSED):
                if box.state is ContainerState.PAUSED:
                    self._tell(Change.RESUMED, name)
                box.state = ContainerState.RUNNING
                return
            if box.spec.network_of is not None:
                self._box(box.spec.network_of)
            for one in box.spec.publish:
                self._check_port(one.host_port or one.port, name)
            box.state, box.endpoint = ContainerState.RUNNING, self._id()
            network = box.spec.network
            if network not in (None, "host", "none"):
                box.joined[network] = box.spec.ip or box.joined.get(network) or self._ip(network)
            self._tell(Change.STARTED, name)
            if box.spec.component is Component.COMPUTE:
                box.lines += self.said
            self._run_box(box)

    def _run_box(self, box: _Box) -> None:
        """Its program runs, and once more if it ends and is to be restarted. If it ends again it is about to
        be started for as long as anybody looks: the engine waits longer every time."""
        if self._ends(box) and box.spec.restart == "unless-stopped":
            self._come_back(box)
            if self._ends(box):
                box.state = ContainerState.RESTARTING

    def _ends(self, box: _Box) -> bool:
        ended = self._run(box.spec)
        if ended is not None:
            box.exit_code = ended[0]
            box.lines += ended[1]
            self._exit(box.spec.name)
        return ended is not None

    def _come_back(self, box: _Box) -> None:
        box.state, box.endpoint = ContainerState.RUNNING, self._id()
        self._tell(Change.STARTED, box.spec.name)

    def stop(self, name: str, timeout_s: float) -> None:  # noqa: ARG002
        with self._change(f"stop {name}"):
            if self.boxes.get(name) and self.boxes[name].state in (
                ContainerState.RUNNING,
                ContainerState.PAUSED,
                ContainerState.RESTARTING,
            ):
                self._exit(name)

    def remove(self, kind: Kind, name: str) -> None:
        with self._change(f"remove {kind} {name}"):
            match kind:
                case Kind.CONTAINER:
                    if self.running(name):
                        self._exit(name)
                    if name in self.boxes:
                        self._tell(Change.REMOVED, name)
                    self.boxes.pop(name, None)
                case Kind.NETWORK:
                    if any(name in box.joined and box.state is ContainerState.RUNNING for box in self._all()):
                        raise Conflict(f"can't remove network {name}", code="in_use")
                    self.nets.pop(name, None)
                case Kind.VOLUME:
                    if any(mount.source == name for box in self._all() for mount in box.spec.mounts):
                        raise Conflict(f"can't remove volume {name}", code="in_use")
                    self.vols.pop(name, None)
                    self.removed_volume(name)

    def wait(self, name: str, timeout_s: float) -> int:
        until = time.monotonic() + timeout_s
        while True:
            with self._mutex:
                box = self._box(name)
                if box.state is not ContainerState.RUNNING:
                    return box.exit_code
            if time.monotonic() > until:
                raise TimedOut(f'container "{name}" did not end in {timeout_s:.0f} s', code="still_running")
            time.sleep(0.002)

    # ---- Reader

    def logs(self, name: str, tail: int = 20) -> list[str]:
        with self._mutex:
            return self._box(name).lines[-tail:]

    def follow(self, name: str, tail: int = 20) -> Iterator[str]:
        yield from self.logs(name, tail)
        self.wait(name, 60)

    def read_archive(self, name: str, path: str) -> Iterator[bytes]:
        with self._mutex:
            mounts = [one for one in self._box(name).spec.mounts if path.startswith(one.target)]
            if not mounts or self.host is None:
                raise NotFound(f"no {path} in {name}", code="no_such_thing")
            source = self.host_path(mounts[0].source + path.removeprefix(mounts[0].target))
            if not source.exists():
                raise NotFound(f"no {path} in {name}", code="no_such_thing")
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                tar.add(source, arcname=Path(path).name)
        yield out.getvalue()

    # ---- Watcher

    def watch(self, stack: str, since_ns: int | None = None) -> FakeWatching:
        with self._mutex:
            since_ns = time.time_ns() if since_ns is None else since_ns
            first = next((i for i, one in enumerate(self.told) if one.at_ns >= since_ns), len(self.told))
            return FakeWatching(self.news, self.told, stack, first)

    def lines(
        self, name: str, tail: int | None = None, since: str = "", *, follow: bool = False
    ) -> Iterator[Line]:
        box = self._box_named(name)
        there = [line for line in _stamped(box) if line.stamp >= since]
        yield from there if tail is None else there[len(there) - tail :]
        seen = len(box.lines)
        while follow:
            ended = box.state is not ContainerState.RUNNING or box not in self._all()
            more = _stamped(box)[seen:]
            seen += len(more)
            yield from more
            if ended and not more:
                return
            time.sleep(0.002)

    # ---- for tests

    def end(self, name: str, code: int = 137, lines: list[str] | None = None) -> None:
        """The container's program dies; it is started again if its spec says so."""
        with self._mutex:
            box = self.boxes[name]
            box.exit_code = code
            box.lines += lines or []
            self._exit(name)
            if box.spec.restart == "unless-stopped":
                self._come_back(box)
                self._run_box(box)

    def pause(self, name: str) -> None:
        with self._mutex:
            self.boxes[name].state = ContainerState.PAUSED
            self._tell(Change.PAUSED, name)

    def leave_networks(self, name: str) -> None:
        """As `docker network disconnect` does to a running container."""
        with self._mutex:
            self.boxes[name].joined.clear()

    def running(self, name: str) -> bool:
        with self._mutex:
            return name in self.boxes and self.boxes[name].state is ContainerState.RUNNING

    def contents(self) -> tuple[dict[str, str], set[str], set[str]]:
        """What exists: containers with their state, networks, volumes."""
        with self._mutex:
            return {n: b.state.value for n, b in self.boxes.items()}, set(self.nets), set(self.vols)

    def server_at(self, component: Component, address: str) -> _Box | None:
        with self._mutex:
            for box in self._all():
                if box.spec.component is component and address in box.joined.values():
                    return box
        return None

    def host_path(self, path: str) -> Path:
        """Where the engine's machine has `path`."""
        assert self.host is not None
        return self.host / path.lstrip("/")

    # ---- inside

    @contextmanager
    def _change(self, what: str) -> Iterator[None]:
        with self._mutex, self.faults.around(what):
            self.calls.append(what)
            yield

    def _exit(self, name: str) -> None:
        self.boxes[name].state = ContainerState.EXITED
        self._tell(Change.ENDED, name)

    def _tell(self, change: Change, name: str) -> None:
        box = self.boxes[name]
        code = box.exit_code if change is Change.ENDED else None
        self.told.append(ContainerEvent(time.time_ns(), change, name, box.id, box.spec.labels, code))
        self.news.notify_all()

    def _all(self) -> list[_Box]:
        return list(self.boxes.values())

    def _id(self) -> str:
        return f"{next(self._ids):064x}"

    def _box_named(self, name: str) -> _Box:
        """By name or id, as the engine takes either."""
        return next((box for box in self._all() if box.id == name), None) or self._box(name)

    def _box(self, name: str) -> _Box:
        if name not in self.boxes:
            raise NotFound(f"can't find container {name}", code="no_such_thing")
        return self.boxes[name]

    def _ip(self, network: str) -> str:
        spec = self.nets[network][1]
        return str(IPv4Network(spec.dynamic or spec.subnet)[next(self._ids) % 100 + 2])

    def _check_port(self, port: int, name: str) -> None:
        owner = next(
            (
                box.spec.name
                for box in self._all()
                if box.state is ContainerState.RUNNING and port in _ports(box.spec) and box.spec.name != name
            ),
            None,
        )
        if owner is not None or port in self.taken:
            raise port_taken(Conflict("a port is taken", detail=str(port), code="port_taken"), owner)

    def _check_mount(self, mount: Mount) -> None:
        if not mount.is_bind:
            self.vols.setdefault(mount.source, VolumeSpec(mount.source))  # as the engine does
        elif self._is_missing(mount.source):
            raise NotFound(f'path "{mount.source}" does not exist', code="path_missing")

    def _is_missing(self, path: str) -> bool:
        if self.host is None or path.startswith((VOLUMES, "/state")):
            return False
        return not self.host_path(path).exists()

    def _run(self, spec: ContainerSpec) -> tuple[int, list[str]] | None:
        entry = spec.entrypoint or ()
        if "neon_compose.controller.folder" in entry:
            verb, _, *rest = spec.command
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                folder.main([verb, str(self.host_path(spec.mounts[0].source)), *rest])
            return 0, out.getvalue().splitlines()
        if entry == ("/bin/cat",):
            return 0, self.host_view
        return self.program(spec)

    def _container(self, box: _Box) -> Container:
        up = box.state in (ContainerState.RUNNING, ContainerState.PAUSED)
        return Container(
            name=box.spec.name,
            id=box.id,
            image=box.spec.image,
            state=box.state,
            labels=box.spec.labels,
            mounts=tuple(Mount(_source(one), one.target, one.read_only) for one in box.spec.mounts),
            endpoints=tuple(
                Endpoint(net, ip if up else "", box.endpoint if up else "") for net, ip in box.joined.items()
            ),
            published=_ports(box.spec) if up else (),
            created_at=box.created_at,
        )


def _stamped(box: _Box) -> list[Line]:
    """One line in two microseconds since the container was made."""
    moments = [2 * place - 3 * (place in box.early) for place in range(len(box.lines))]
    stamps = [stamp_of(box.created_at + timedelta(microseconds=moment)) for moment in moments]
    return [Line(stamp, text) for stamp, text in zip(stamps, box.lines, strict=True)]


def _ports(spec: ContainerSpec) -> tuple[int, ...]:
    return tuple(sorted(one.host_port or one.port for one in spec.publish))


def _source(mount: Mount) -> str:
    return mount.source if mount.is_bind else f"{VOLUMES}/{mount.source}/_data"


def _network(net: str, spec: NetworkSpec) -> Network:
    return Network(spec.name, net, spec.labels, (spec.subnet,))


def _volume(spec: VolumeSpec) -> Volume:
    return Volume(spec.name, f"{VOLUMES}/{spec.name}/_data", spec.labels)
