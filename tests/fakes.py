"""In-memory stand-ins for the engine and the pageservers: real classes with the real ones' contracts.

`Faults` makes the n-th change fail, before or after it has happened: a server that died before or after
the work looks the same to its client.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
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
from neon_compose.errors import Conflict, Invalid, NeonError, NotFound, TimedOut, Unavailable
from neon_compose.model.states import Component, Durability
from neon_compose.wire import ndjson
from neon_compose.wire.fetching import Fetch, FetchRequest
from neon_compose.wire.pageserver import (
    Branch,
    ComputeStatus,
    Credentials,
    LaidOut,
    Leftover,
    Opened,
    Prepared,
    SettingValue,
    Snapshot,
    StorageStatus,
)

VOLUMES = "/var/lib/docker/volumes"


class Faults:
    """Fails the change number `at` (from 1), before it happens or after."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.after = False
        self.seen: list[str] = []
        self.before: Callable[[str], object] = lambda _: None  # called with each change, before it
        self._mutex = threading.Lock()

    def arm(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.seen = at, after, []

    def disarm(self) -> None:
        self.at = None

    @contextmanager
    def around(self, what: str) -> Iterator[None]:
        with self._mutex:
            self.seen.append(what)
            mine = len(self.seen) == self.at
        self.before(what)
        if mine and not self.after:
            raise Unavailable(f"injected before: {what}", code="injected")
        yield
        if mine and self.after:
            raise Unavailable(f"injected after: {what}", code="injected")


# ---- the engine


@dataclass
class _Box:
    """A container."""

    spec: ContainerSpec
    id: str
    state: ContainerState = ContainerState.CREATED
    endpoint: str = ""
    exit_code: int = 0
    lines: list[str] = field(default_factory=list)
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
            ended = self._run(box.spec)
            if ended is not None:
                box.exit_code, box.lines = ended
                self._exit(name)

    def stop(self, name: str, timeout_s: float) -> None:  # noqa: ARG002
        with self._change(f"stop {name}"):
            if self.boxes.get(name) and self.boxes[name].state in (
                ContainerState.RUNNING,
                ContainerState.PAUSED,
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
            return FakeWatching(self, stack, first)

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
        """The container's program dies."""
        with self._mutex:
            box = self.boxes[name]
            box.exit_code = code
            box.lines += lines or []
            self._exit(name)

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

    def pageserver_at(self, address: str) -> _Box | None:
        with self._mutex:
            for box in self._all():
                if box.spec.component is Component.PAGESERVER and address in box.joined.values():
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
    """One line a microsecond since the container was made."""
    return [
        Line(stamp_of(box.created_at + timedelta(microseconds=place)), text)
        for place, text in enumerate(box.lines)
    ]


class FakeWatching:
    """`Watching` of a `FakeEngine`."""

    def __init__(self, engine: FakeEngine, stack: str, first: int) -> None:
        self._engine, self._stack, self._next = engine, stack, first
        self._closed = False

    def __iter__(self) -> Iterator[ContainerEvent]:
        while (event := self._wait()) is not None:
            if event.labels.get(label.STACK) == self._stack:
                yield event

    def _wait(self) -> ContainerEvent | None:
        with self._engine.news:
            self._engine.news.wait_for(lambda: self._closed or self._next < len(self._engine.told))
            if self._closed:
                return None
            self._next += 1
            return self._engine.told[self._next - 1]

    def close(self) -> None:
        with self._engine.news:
            self._closed = True
            self._engine.news.notify_all()


def _ports(spec: ContainerSpec) -> tuple[int, ...]:
    return tuple(sorted(one.host_port or one.port for one in spec.publish))


def _source(mount: Mount) -> str:
    return mount.source if mount.is_bind else f"{VOLUMES}/{mount.source}/_data"


def _network(net: str, spec: NetworkSpec) -> Network:
    return Network(spec.name, net, spec.labels, (spec.subnet,))


def _volume(spec: VolumeSpec) -> Volume:
    return Volume(spec.name, f"{VOLUMES}/{spec.name}/_data", spec.labels)


# ---- pageservers


@dataclass
class _Compute:
    generation: str
    branch: str
    laid_out: bool = False
    opened: bool = False
    has_writes: bool = False


@dataclass
class FakeStore:
    """What a storage holds; outlives its pageserver, as a volume does."""

    name: str
    empty: bool = True
    snapshots: dict[str, str] = field(default_factory=dict)  # name -> branch
    branches: dict[str, tuple[str | None, str | None, str | None]] = field(default_factory=dict)
    computes: dict[str, _Compute] = field(default_factory=dict)
    imported: bytes = b""
    fetches: dict[str, FetchRequest] = field(default_factory=dict)
    folder: Path | None = None


@dataclass
class FakePageservers:
    """`make(address)` gives the pageserver that runs there in `engine`."""

    engine: FakeEngine
    stores: dict[str, FakeStore] = field(default_factory=dict)
    open_blocks_s: float = 0.0
    never_opens: bool = False
    import_hook: Callable[[int], None] = lambda _: None
    looks: list[str] = field(default_factory=list)  # what was only read, as it was asked

    def __post_init__(self) -> None:
        self.engine.removed_volume = self._forget

    def _forget(self, volume: str) -> None:
        for name in list(self.stores):
            if volume.endswith(f"_storage_{name}"):
                del self.stores[name]

    def make(self, address: str) -> FakePageserver:
        return FakePageserver(self, address)

    def store(self, name: str) -> FakeStore:
        return self.stores.setdefault(name, FakeStore(name))


class FakePageserver:
    """The shape of `PageserverClient`, over a `FakeStore`."""

    def __init__(self, all_: FakePageservers, address: str) -> None:
        self._all, self._address = all_, address
        self._mutex = threading.RLock()

    @property
    def _store(self) -> FakeStore:
        box = self._all.engine.pageserver_at(self._address)
        if box is None or box.state is not ContainerState.RUNNING:
            raise Unavailable(f"the pageserver at {self._address} does not answer", code="pageserver_down")
        folder = next(one for one in box.spec.mounts if one.target == "/storage")
        store = self._all.store(box.spec.labels[label.STORAGE])
        if folder.is_bind:
            store.folder = self._all.engine.host_path(folder.source)
            store.empty = not (store.folder / "storage.json").exists()
        return store

    def _change(self, what: str) -> contextlib.AbstractContextManager[None]:
        return self._all.engine.faults.around(what)

    def healthy(self) -> bool:
        with contextlib.suppress(NeonError):
            return bool(self._store)
        return False

    def status(self) -> StorageStatus:
        store = self._store
        return StorageStatus(
            name=store.name,
            empty=store.empty,
            storage_id=None if store.empty else _id_of(store),
            postgres_major=17,
            default_database="postgres",
            branches=sorted(store.branches),
            snapshots=sorted(store.snapshots),
            size_bytes=8192,
        )

    def credentials(self) -> Credentials:
        return Credentials(role="neon_admin", password="s3:cret/", database="postgres")

    def leftovers(self) -> list[Leftover]:
        return [Leftover(kind="scratch", name=name, why="a fetch") for name in self._store.fetches]

    def initialise(self) -> Iterator[ndjson.Event]:
        with self._change("initialise"):
            store = self._store
            if store.empty:
                self._fill(store, "init")
        yield ndjson.Step(name="initdb", state="done")
        yield ndjson.Result(result={})

    def import_stream(self, fmt: str, chunks: Iterator[bytes]) -> Iterator[ndjson.Event]:
        store = self._store
        if not store.empty:
            raise Conflict(f'storage "{store.name}" is not empty', code="not_empty")
        with self._change("import"):
            data = b""
            for chunk in chunks:
                data += chunk
                self._all.import_hook(len(data))
                yield ndjson.Step(name="restore", state="progress", bytes=len(data))
            if not data.startswith(b"PGDMP") and fmt != "directory":
                raise Invalid("the upload is not a dump", code="not_a_dump")
            store.imported = data
            self._fill(store, "import")
        yield ndjson.Result(result={})

    def begin_fetch(self, request: FetchRequest) -> Fetch:
        store = self._store
        if not store.empty:
            raise Conflict(f'storage "{store.name}" is not empty', code="not_empty")
        with self._change("begin_fetch"):
            store.fetches["fetch-0"] = request
        return Fetch(id="fetch-0")

    def drop_fetch(self, fetch_id: str) -> None:
        self._store.fetches.pop(fetch_id, None)

    def import_fetched(self, fetch_id: str) -> Iterator[ndjson.Event]:
        with self._change("import_fetched"):
            store = self._store
            store.imported = store.fetches[fetch_id].model_dump_json().encode()
            self._fill(store, "import")
        yield ndjson.Result(result={})

    @staticmethod
    def _fill(store: FakeStore, snapshot: str) -> None:
        store.empty = False
        store.branches["main"] = (None, None, None)
        store.snapshots[snapshot] = "main"
        if store.folder is not None:
            (store.folder / "storage.json").write_text(f'{{"format": 1, "storage_id": "id-of-{store.name}"}}')

    def branches(self) -> list[Branch]:
        store = self._store
        return [self._branch(store, name) for name in sorted(store.branches)]

    def _branch(self, store: FakeStore, name: str) -> Branch:
        parent, snapshot, writer = store.branches[name]
        return Branch(
            name=name,
            id=f"id-of-{name}",
            parent=parent,
            snapshot=snapshot,
            start_lsn="0/1000000",
            writer=writer,
            has_writes=self._has_writes(store, name),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    @staticmethod
    def _has_writes(store: FakeStore, branch: str) -> bool:
        return any(one.branch == branch and one.has_writes for one in store.computes.values())

    def snapshots(self) -> list[Snapshot]:
        made = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            Snapshot(name=name, branch=branch, branch_id="x", lsn="0/1000000", created_at=made)
            for name, branch in self._store.snapshots.items()
        ]

    def create_branch(
        self, name: str, *, from_branch: str | None = None, from_snapshot: str | None = None
    ) -> tuple[Branch, bool]:
        with self._change(f"create branch {name}"), self._mutex:
            store = self._store
            new = self._make_branch(store, name, from_branch, from_snapshot)
            return self._branch(store, name), new

    def _make_branch(
        self, store: FakeStore, name: str, from_branch: str | None, from_snapshot: str | None
    ) -> bool:
        if name in store.branches:
            if store.branches[name][:2] != (from_branch, from_snapshot):
                raise Conflict(f'branch "{name}" starts elsewhere', code="branch_exists")
            return False
        if from_snapshot is not None and from_snapshot not in store.snapshots:
            raise NotFound(f'snapshot "{from_snapshot}" does not exist', code="no_such_snapshot")
        if from_branch not in store.branches:
            raise NotFound(f'branch "{from_branch}" does not exist', code="no_such_branch")
        if from_snapshot is None and self._has_writes(store, from_branch):
            moments = ", ".join(sorted(store.snapshots))
            raise Conflict(f'branch "{from_branch}" has writes', detail=moments, code="has_writes")
        store.branches[name] = (from_branch, from_snapshot, None)
        return True

    def delete_branch(self, name: str) -> None:
        with self._change(f"delete branch {name}"):
            store = self._store
            if name not in store.branches:
                raise NotFound(f'branch "{name}" does not exist', code="no_such_branch")
            if name == "main" or any(one.branch == name for one in store.computes.values()):
                raise Conflict(f'branch "{name}" is needed', code="branch_in_use")
            del store.branches[name]

    def prepare(
        self, pg: str, branch: str, *, from_branch: str | None = None, from_snapshot: str | None = None
    ) -> Prepared:
        with self._change(f"prepare {pg}"), self._mutex:
            store = self._store
            created = False
            if branch not in store.branches:
                if from_branch is None:
                    raise NotFound(f'branch "{branch}" does not exist', code="no_such_branch")
                created = self._make_branch(store, branch, from_branch, from_snapshot)
            parent, snapshot, writer = store.branches[branch]
            if writer not in (None, pg):
                raise Conflict(
                    f'branch "{branch}" has a primary: pg "{writer}"',
                    hint=f"Destroy {writer}, or make a branch of it.",
                    code="second_primary",
                )
            store.branches[branch] = (parent, snapshot, pg)
            compute = store.computes.setdefault(pg, _Compute(f"{len(store.computes):012x}", branch))
            return Prepared(
                generation=compute.generation,
                branch_id=f"id-of-{branch}",
                tip="tip",
                created_branch=created,
                laid_out=compute.laid_out,
                needs_layout=not compute.laid_out,
                command=["postgres", "-D", "/neon/pg/data"],
            )

    def check_settings(
        self, settings: Mapping[str, SettingValue], durability: Durability = Durability.LOCAL
    ) -> None:
        del durability
        if "fsync" in settings:
            raise Invalid('setting "fsync" is not yours to set', code="bad_setting")

    def layout(
        self,
        pg: str,
        generation: str,
        port: int,
        settings: Mapping[str, SettingValue],
        durability: Durability = Durability.LOCAL,
    ) -> LaidOut:
        del generation, port
        with self._change(f"layout {pg}"):
            self.check_settings(settings, durability)
            self._store.computes[pg].laid_out = True
            return LaidOut(files=300, ms=10)

    def open(self, pg: str, generation: str, port: int, wait_s: float = 60.0) -> Opened:
        del generation, port
        with self._change(f"open {pg}"):
            until = time.monotonic() + wait_s
            engine = self._all.engine
            while self._all.never_opens or not any(engine.running(name) for name in self._containers_of(pg)):
                if time.monotonic() > until:
                    raise TimedOut(f'timed out waiting for pg "{pg}"')
                time.sleep(0.002)
            time.sleep(self._all.open_blocks_s)
            self._store.computes[pg].opened = True
            return Opened(lsn="0/1000000", ms=5)

    def _containers_of(self, pg: str) -> list[str]:
        return [
            name for name, box in list(self._all.engine.boxes.items()) if box.spec.labels.get(label.PG) == pg
        ]

    def compute(self, pg: str) -> ComputeStatus:
        found = {one.pg: one for one in self.computes()}
        if pg not in found:
            raise NotFound(f'compute "{pg}" does not exist', code="no_such_compute")
        return found[pg]

    def computes(self) -> list[ComputeStatus]:
        self._all.looks.append(f"computes of {self._store.name}")
        return [
            ComputeStatus(
                pg=pg,
                generation=one.generation,
                branch=one.branch,
                branch_id=f"id-of-{one.branch}",
                laid_out=one.laid_out,
                settling=False,
                opened=one.opened,
                has_writes=one.has_writes,
                own_bytes=4096,
            )
            for pg, one in list(self._store.computes.items())
        ]

    def delete_compute(self, pg: str, *, discard_writes: bool = False) -> None:
        with self._change(f"delete compute {pg}"), self._mutex:
            store = self._store
            compute = store.computes.get(pg)
            if compute is None:
                return
            if compute.has_writes and not discard_writes:
                raise Conflict(f'pg "{pg}" has writes', hint="--discard-writes", code="has_writes")
            del store.computes[pg]
            for name, (parent, snapshot, writer) in store.branches.items():
                if writer == pg:
                    store.branches[name] = (parent, snapshot, None)


def _id_of(store: FakeStore) -> str:
    """What its folder says, if it has one: folders get moved."""
    if store.folder is None:
        return f"id-of-{store.name}"
    return str(json.loads((store.folder / "storage.json").read_text())["storage_id"])
