"""Does the steps of a plan. Decides nothing: what a step needs is in it or was found by an earlier one.

An `Execution` is a context. Before each step its undo is registered, so that an error, in whichever
step and however far the step got, takes back what this execution made, the last thing first. An undo
that fails is logged and the others go on. Undos remove only what the plan saw to be absent. A step that
destroys what can't be brought back is final: from then on there is only forward, and a document marked
as `ending` says so to whoever comes after an error or a crash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import assert_never

from neon_compose.controller import steps as do
from neon_compose.controller.desired import Documents
from neon_compose.controller.faults import Fault, no_fault
from neon_compose.controller.fetching import Origin, fetch, missing_socket
from neon_compose.controller.folder import Claimed
from neon_compose.controller.gate import pass_gate
from neon_compose.controller.happenings import news_of
from neon_compose.controller.hostpath import claim_folder, purge_folder
from neon_compose.controller.pageservers import Pageserver, Pageservers
from neon_compose.controller.safekeepers import Safekeepers
from neon_compose.controller.specs import compute_spec
from neon_compose.engine.runtime import Engine, Kind
from neon_compose.errors import Bug, NeonError, NotFound, Unavailable
from neon_compose.model.source import Source
from neon_compose.wait import Deadline, monotonic_s, until
from neon_compose.wire.events import EventKind
from neon_compose.wire.ndjson import Emit, Result
from neon_compose.wire.ndjson import Step as Event
from neon_compose.wire.pageserver import Prepared

log = logging.getLogger(__name__)

Undo = Callable[[], object]
Tell = Callable[[EventKind, str, str | None], None]
_HEALTHY_S = 60.0
_QUICK_STOP_S = 10.0
_MAY_HAVE_HAPPENED = ("pageserver_slow", "pageserver_cut_off")  # asked, but no answer came


@dataclass(frozen=True)
class Tools:
    """What steps are done with."""

    stack: str
    engine: Engine
    documents: Documents
    pageservers: Pageservers
    safekeepers: Safekeepers
    workers: ThreadPoolExecutor
    probe_image: Callable[[], str]
    tell: Tell
    fault: Fault = no_fault


def silent(_: Event) -> None:
    """An `Emit` for when nobody listens."""


@dataclass
class Execution:
    """One request's steps, their undos and what they found. Use as a context; `run` any number of plans."""

    tools: Tools
    addresses: dict[str, str]  # storage -> where its pageserver answers
    emit: Emit = silent
    chunks: Iterator[bytes] | None = None  # the body of an import
    origin: Origin | None = None  # what an import fetches
    prepared: dict[str, Prepared] = field(default_factory=dict)
    claimed: Claimed | None = None
    kept: str | None = None  # the name of what a restored branch was
    _last: str = ""  # the step that was begun last
    _undos: list[Undo] = field(default_factory=list)

    def __enter__(self) -> Execution:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.undo()
            if self._last:
                self.tools.tell(EventKind.TAKEN_BACK, self._last, "with all that the request had made")

    def run(self, plan: do.Plan) -> None:
        for step in plan.steps:
            self._run(step)

    def undo(self) -> None:
        """Take back everything done so far, the last first."""
        while self._undos:
            undo = self._undos.pop()
            try:
                undo()
            except NeonError as error:
                log.warning("an undo failed: %s (%s)", error.message, error.detail)

    def pageserver(self, storage: str) -> Pageserver:
        address = self.addresses.get(storage)
        if address is None:
            raise Unavailable(f'the pageserver of storage "{storage}" is not running', code="pageserver_down")
        return self.tools.pageservers.at(address)

    # ---- steps

    def _run(self, step: do.Step) -> None:
        if isinstance(step, do.Together):
            self._together(step)
            return
        name = self._last = f"{step.action} {step.target}"
        self.tools.fault(f"before {name}")
        self.emit(Event(name=name, state="start"))
        began = monotonic_s()
        undo = self._undo_of(step)
        self._undos.append(undo)
        try:
            self._do(step)
        except NeonError as error:
            # The name is somebody else's: there is nothing of ours to take back.
            if error.code == "exists":
                self._undos.remove(undo)
            if step.final and error.code in _MAY_HAVE_HAPPENED:
                self._undos.clear()
            self.tools.tell(EventKind.STEP_FAILED, name, error.message)
            raise
        if step.final:
            self._undos.clear()
        self.tools.fault(f"after {name}")
        for kind, about in news_of(step):
            self.tools.tell(kind, about, None)
        self.emit(Event(name=name, state="done", ms=round((monotonic_s() - began) * 1000, 1)))

    def _together(self, step: do.Together) -> None:
        first, *others = step.lanes
        futures: list[Future[None]] = [self.tools.workers.submit(self._lane, lane) for lane in others]
        try:
            self._lane(first)
        finally:
            wait(futures)
        for future in futures:
            future.result()

    def _lane(self, lane: tuple[do.Step, ...]) -> None:
        for step in lane:
            self._run(step)

    def _do(self, step: do.Step) -> None:
        match step:
            case do.PutDocument(doc=doc):
                self.tools.documents.put(doc)
            case do.DropDocument(doc=doc):
                self.tools.documents.remove(doc)
            case do.Prepare() | do.Layout() | do.CreateCompute() | do.Open() | do.DeleteCompute():
                self._do_compute(step)
            case do.DiscardCache(doc=doc):
                self.pageserver(doc.storage_name).discard_cache(doc.name)
            case do.CheckSettings(doc=doc):
                self.pageserver(doc.storage_name).check_settings(doc.settings, doc.durability)
            case do.ImportOrigin():
                self._import_origin(step)
            case do.AwaitPageserver() | do.Initialise() | do.ImportDump():
                self._do_storage(step)
            case do.PutBranch() | do.DropBranch() | do.PutSnapshot() | do.DropSnapshot():
                self._do_branch(step)
            case do.CheckRestore(storage=storage, branch=branch, moment=moment, keep=keep):
                self.pageserver(storage).restore_branch(branch, moment=moment, keep=keep, check=True)
            case do.RestoreBranch(storage=storage, branch=branch, moment=moment, keep=keep):
                done = self.pageserver(storage).restore_branch(branch, moment=moment, keep=keep)
                self.kept = done.kept
            case _:
                self._do_engine(step)

    def _do_engine(self, step: do.Step) -> None:
        engine = self.tools.engine
        match step:
            case do.MakeVolume(spec=spec):
                engine.ensure_volume(spec)
            case do.CreateContainer(spec=container):
                engine.create(container)
            case do.StartContainer(name=name):
                engine.start(name)
            case do.StopContainer(name=name, timeout_s=timeout_s):
                engine.stop(name, timeout_s)
            case do.Remove(kind=kind, name=name):
                engine.remove(kind, name)
            case do.AwaitSafekeeper(name=name):
                safekeepers = self.tools.safekeepers
                self._await(
                    f"safekeeper {name}", name, lambda at: safekeepers.at(at).healthy(), "safekeeper_down"
                )
            case do.ClaimFolder(name=name, storage=storage):
                tools = self.tools
                self.claimed = claim_folder(engine, tools.stack, tools.probe_image(), name, storage)
            case do.PurgeFolder(name=name, made=made):
                self._purge(name, made=made)
            case _:
                raise Bug(f"no way to {step.action}")

    def _do_storage(self, step: do.AwaitPageserver | do.Initialise | do.ImportDump) -> None:
        match step:
            case do.AwaitPageserver(storage=storage, container=container):
                self.addresses[storage] = self._await(
                    f'the pageserver of storage "{storage}"',
                    container,
                    lambda at: self.tools.pageservers.at(at).healthy(),
                    "pageserver_down",
                )
            case do.Initialise(storage=storage):
                self._relay(self.pageserver(storage).initialise())
            case do.ImportDump(storage=storage, format=fmt, what=what):
                self._relay(self.pageserver(storage).import_stream(fmt, self.chunks or iter(()), what))
            case _:
                assert_never(step)

    def _do_branch(self, step: do.PutBranch | do.DropBranch | do.PutSnapshot | do.DropSnapshot) -> None:
        pageserver = self.pageserver(step.storage)
        match step:
            case do.PutBranch(branch=branch, origin=origin):
                pageserver.create_branch(branch, from_branch=origin.name, moment=_moment(origin))
            case do.DropBranch(branch=branch, forever=forever):
                pageserver.delete_branch(branch, now=forever)
            case do.PutSnapshot(snapshot=snapshot, origin=origin):
                pageserver.create_snapshot(snapshot, from_branch=origin.name, moment=_moment(origin))
            case do.DropSnapshot(snapshot=snapshot):
                pageserver.delete_snapshot(snapshot)
            case _:
                assert_never(step)

    def _do_compute(
        self, step: do.Prepare | do.Layout | do.CreateCompute | do.Open | do.DeleteCompute
    ) -> None:
        doc, pageserver = step.doc, self.pageserver(step.doc.storage_name)
        match step:
            case do.Prepare(origin=origin):
                self.prepared[doc.name] = pageserver.prepare(
                    doc.name,
                    doc.branch,
                    from_branch=origin.name if origin else None,
                    moment=_moment(origin) if origin else None,
                    durability=doc.durability,
                )
            case do.Layout():
                generation = self.prepared[doc.name].generation
                pageserver.layout(doc.name, generation, doc.port, doc.settings, doc.durability)
            case do.CreateCompute(place=place, image=image):
                prepared = self.prepared[doc.name]
                self.tools.engine.create(compute_spec(self.tools.stack, doc, image, place, prepared))
            case do.Open():
                tools, generation = self.tools, self.prepared[doc.name].generation
                pass_gate(tools.engine, tools.stack, tools.workers, pageserver, step, generation)
            case do.DeleteCompute(discard_writes=discard_writes):
                self._if_there(lambda: pageserver.delete_compute(doc.name, discard_writes=discard_writes))
            case _:
                assert_never(step)

    # ---- undos

    def _undo_of(self, step: do.Step) -> Undo:
        """What takes `step` back, however far it got; nothing for steps that only go forward."""
        tools = self.tools
        match step:
            case do.PutDocument(doc=doc, before=before):
                return lambda: tools.documents.put(before) if before else tools.documents.remove(doc)
            case do.MakeVolume(spec=spec, fresh=True):
                return lambda: tools.engine.remove(Kind.VOLUME, spec.name)
            case do.CreateContainer(spec=container):
                return lambda: tools.engine.remove(Kind.CONTAINER, container.name)
            case do.CreateCompute(name=name):
                return lambda: tools.engine.remove(Kind.CONTAINER, name)
            case do.StartContainer(name=name) | do.Open(container=name):
                return lambda: tools.engine.stop(name, _QUICK_STOP_S)
            case do.ClaimFolder():
                return self._unclaim
            case do.PutBranch(storage=storage, branch=branch, fresh=True):
                return lambda: self._if_there(lambda: self._undo_branch(storage, branch))
            case do.PutSnapshot(storage=storage, snapshot=snapshot, fresh=True):
                return lambda: self._if_there(lambda: self.pageserver(storage).delete_snapshot(snapshot))
            case do.Prepare():
                return lambda: self._undo_prepare(step)
            case _:
                return lambda: None

    def _undo_prepare(self, step: do.Prepare) -> None:
        pageserver, doc = self.pageserver(step.doc.storage_name), step.doc
        if step.fresh_compute:
            self._if_there(lambda: pageserver.delete_compute(doc.name))
        if step.fresh_branch:
            self._if_there(lambda: self._undo_branch(doc.storage_name, doc.branch))

    def _undo_branch(self, storage: str, branch: str) -> None:
        """Nobody takes back what was never there for anybody."""
        self.pageserver(storage).delete_branch(branch, now=True)

    def _unclaim(self) -> None:
        claimed = self.claimed
        if claimed is not None and claimed.storage_id is None:
            self._purge(claimed.path, made=claimed.made)

    def _purge(self, folder: str, *, made: bool) -> None:
        tools = self.tools
        purge_folder(tools.engine, tools.stack, tools.probe_image(), folder, made=made)

    @staticmethod
    def _if_there(undo: Callable[[], None]) -> None:
        try:
            undo()
        except NotFound:
            return

    # ---- longer ones

    def _relay(self, events: Iterator[Event | Result]) -> None:
        for event in events:
            if isinstance(event, Event):
                self.emit(event)

    def _import_origin(self, step: do.ImportOrigin) -> None:
        tools, origin, pageserver = self.tools, self.origin, self.pageserver(step.storage)
        assert origin is not None
        fetched = fetch(tools.engine, tools.stack, step.storage, step.image, pageserver, origin, step.what)
        try:
            with closing(fetched) as events:
                self._relay(events)
        except NotFound as error:
            raise missing_socket(error, origin) from error

    def _await(self, what: str, name: str, healthy: Callable[[str], bool], code: str) -> str:
        """Wait until a container that was just started answers; its address. `Unavailable` if it ends."""
        engine = self.tools.engine

        def answers() -> str | None:
            container = engine.observe(self.tools.stack, (Kind.CONTAINER,)).container(name)
            if container is None or not container.goes_on:
                raise Unavailable(
                    f"{what} ended",
                    detail="\n".join(engine.logs(name)) if container else "Its container is gone.",
                    code=code,
                )
            address = next((end.ip for end in container.endpoints if end.ip), None)
            return address if address is not None and healthy(address) else None

        return until(
            what, answers, Deadline.after(_HEALTHY_S), last_words=lambda: "\n".join(engine.logs(name))
        )


def _moment(origin: Source) -> str | None:
    return str(origin.moment) if origin.moment is not None else None
