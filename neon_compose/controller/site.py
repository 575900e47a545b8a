"""What every request works with, put together once by the composition root."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from neon_compose.controller.desired import Documents
from neon_compose.controller.events import EventLog
from neon_compose.controller.execute import Execution, Tools, silent
from neon_compose.controller.faults import Fault, no_fault
from neon_compose.controller.locks import Locks
from neon_compose.controller.observe import Phase, Snapshot, observe
from neon_compose.controller.pageservers import Pageserver, Pageservers
from neon_compose.controller.safekeepers import Safekeeper, Safekeepers
from neon_compose.controller.secrets import Secrets
from neon_compose.engine.runtime import Engine, Kind
from neon_compose.errors import Unavailable
from neon_compose.wire.ndjson import Emit

REQUESTS = 64  # threads that serve requests; the API sets its own pool to this
WORKERS = 3 * REQUESTS  # a start takes two more; work given to these never waits for another of them
_CROWD = 8  # storages or pgs brought up beside each other


@dataclass
class Site:
    """`me` is the controller's own container, None outside of one; `state_path` the state volume's folder
    as the engine sees it. `phase` is what the whole stack is in, None when it serves; `ready` is set once
    a started controller has brought back what its documents want.
    """

    stack: str
    engine: Engine
    documents: Documents
    secrets: Secrets
    pageservers: Pageservers
    safekeepers: Safekeepers
    state_path: str
    me: str | None = None
    fault: Fault = no_fault
    locks: Locks = field(default_factory=Locks)
    workers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(WORKERS, thread_name_prefix="work")
    )
    crowd: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(_CROWD, thread_name_prefix="crowd")
    )
    phase: Phase | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    problems: list[str] = field(default_factory=list)  # of the last bring-up, for /status
    failures: list[dict[str, Any]] = field(default_factory=list)  # the same as problem documents
    overdue: dict[str, str] = field(default_factory=dict)  # expired branches that stay -> why
    events: EventLog = field(default_factory=EventLog)
    reserved_ports: set[int] = field(default_factory=set)
    ports_mutex: threading.Lock = field(default_factory=threading.Lock)
    pods_mutex: threading.Lock = field(default_factory=threading.Lock)
    serve_mutex: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        """No new work; what runs is not waited for."""
        self.workers.shutdown(wait=False)
        self.crowd.shutdown(wait=False)

    def snapshot(self, kinds: tuple[Kind, ...] = (Kind.CONTAINER,)) -> Snapshot:
        return observe(self.stack, self.documents, self.engine, self.state_path, self.phase, kinds)

    def execution(
        self, snap: Snapshot, emit: Emit = silent, chunks: Iterator[bytes] | None = None
    ) -> Execution:
        addresses = {
            name: address
            for name in snap.desired.storages
            if (address := snap.address(snap.pageserver(name))) is not None
        }
        tools = Tools(
            self.stack,
            self.engine,
            self.documents,
            self.pageservers,
            self.safekeepers,
            self.workers,
            self.probe_image,
            self.events.tell,
            self.fault,
        )
        return Execution(tools, addresses, emit, chunks)

    def pageserver(self, snap: Snapshot, storage: str) -> Pageserver:
        """`NotFound` without such a storage, `Unavailable` if its pageserver doesn't run."""
        return self.pageservers.at(snap.pageserver_address(storage))

    def answering(self, snap: Snapshot) -> dict[str, Pageserver]:
        """The pageservers that run, by storage."""
        found = {
            name: snap.address(snap.pageserver(name))
            for name, doc in snap.desired.storages.items()
            if not doc.attaching and not doc.ending
        }
        return {name: self.pageservers.at(address) for name, address in found.items() if address}

    def running_safekeepers(self, snap: Snapshot) -> dict[int, Safekeeper]:
        """Those that run, by number."""
        found = {number: snap.address(snap.safekeeper(number)) for number in snap.safekeepers}
        return {number: self.safekeepers.at(address) for number, address in found.items() if address}

    def probe_image(self) -> str:
        """Has our Python, and is there: it is what this runs in."""
        return self.image("controller")

    def image(self, component: str) -> str:
        tag = self.documents.read().stack.images.get(component)
        if not tag:
            raise Unavailable(f'no image is known for "{component}"', code="image_missing")
        return tag

    @contextmanager
    def starting(self) -> Iterator[None]:
        """The phase "starting", also after "stopped"; `Unavailable` while the stack is stopping."""
        if self.phase == "stopping":
            self.refuse_while_stopping()
        self.phase = "starting"
        try:
            yield
        finally:
            if self.phase == "starting":  # not if a stop came meanwhile
                self.phase = None

    def refuse_while_stopping(self) -> None:
        if self.phase in ("stopping", "stopped"):
            raise Unavailable(
                f"the stack is {self.phase}", hint="neon-compose up -d starts it.", code="stopping"
            )
