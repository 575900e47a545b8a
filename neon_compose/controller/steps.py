"""What the controller can do, as data. A plan is a tuple of these; `execute` does them one by one.

Each step says what it does to what, and why; `action` and `target` are what `--dry-run` prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from neon_compose.controller.desired import Doc, PgDoc, StackDoc, StorageDoc
from neon_compose.controller.specs import ComputePlace
from neon_compose.engine.runtime import ContainerSpec, Kind, VolumeSpec
from neon_compose.model.source import Source
from neon_compose.wire.pageserver import ImportAs


@dataclass(frozen=True, kw_only=True)
class Step:
    action: ClassVar[str]
    why: str = ""

    @property
    def target(self) -> str:
        raise NotImplementedError

    @property
    def final(self) -> bool:
        """Whether nothing before it is undone once it is done."""
        return False


# ---- documents


@dataclass(frozen=True)
class PutDocument(Step):
    """Undone by putting `before` back, or removing the document if there was none."""

    action = "write document"
    doc: Doc
    before: Doc | None = None

    @property
    def target(self) -> str:
        return name_of(self.doc)


@dataclass(frozen=True)
class DropDocument(Step):
    action = "remove document"
    doc: Doc

    @property
    def target(self) -> str:
        return name_of(self.doc)


# ---- the engine


@dataclass(frozen=True)
class MakeVolume(Step):
    """`fresh`: it wasn't there, so undoing removes it."""

    action = "make volume"
    spec: VolumeSpec
    fresh: bool

    @property
    def target(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class CreateContainer(Step):
    action = "create container"
    spec: ContainerSpec

    @property
    def target(self) -> str:
        return self.spec.name


@dataclass(frozen=True)
class _Named(Step):
    name: str

    @property
    def target(self) -> str:
        return self.name


@dataclass(frozen=True)
class StartContainer(_Named):
    action = "start container"


@dataclass(frozen=True)
class StopContainer(_Named):
    action = "stop container"
    timeout_s: float = 60


@dataclass(frozen=True)
class Remove(_Named):
    action = "remove"
    kind: Kind = Kind.CONTAINER

    @property
    def target(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def final(self) -> bool:
        return self.kind is Kind.VOLUME


@dataclass(frozen=True)
class MakePod(_Named):
    """Only shown: `pods` makes them ahead, and tries other ports where these turn out to be taken."""

    action = "make pod"


@dataclass(frozen=True)
class ClaimFolder(_Named):
    """Make the host folder `name`, or one in it, that of `storage`; `Execution.claimed` tells which."""

    action = "claim folder"
    storage: str = ""


@dataclass(frozen=True)
class PurgeFolder(_Named):
    """Remove a storage's files from the host folder `name`; if we `made` it and it is empty then, it too."""

    action = "purge folder"
    made: bool = False

    @property
    def final(self) -> bool:
        return True


@dataclass(frozen=True)
class AwaitSafekeeper(_Named):
    """`name` is its container's."""

    action = "await safekeeper"


# ---- a storage


@dataclass(frozen=True)
class _Storage(Step):
    storage: str

    @property
    def target(self) -> str:
        return f"storage {self.storage}"


@dataclass(frozen=True)
class AwaitPageserver(_Storage):
    action = "await pageserver"
    container: str


@dataclass(frozen=True)
class Initialise(_Storage):
    action = "initialise"


@dataclass(frozen=True)
class ImportDump(_Storage):
    """The bytes come from the request (`Execution.chunks`), not from the plan."""

    action = "import"
    format: str = "auto"
    what: ImportAs = ImportAs.NEW


@dataclass(frozen=True)
class ImportOrigin(_Storage):
    """From a server or a data directory: `Execution.origin`, since it may hold a password."""

    action = "import"
    image: str = ""
    what: ImportAs = ImportAs.NEW


Content = Initialise | ImportDump | ImportOrigin


@dataclass(frozen=True)
class PutBranch(_Storage):
    """`fresh`: it wasn't there, so undoing removes it."""

    action = "make branch"
    branch: str
    origin: Source
    fresh: bool

    @property
    def target(self) -> str:
        return f"branch {self.storage}/{self.branch}"


@dataclass(frozen=True)
class DropBranch(_Storage):
    action = "remove branch"
    branch: str
    forever: bool = False  # it can't be taken back

    @property
    def target(self) -> str:
        return f"branch {self.storage}/{self.branch}"


@dataclass(frozen=True)
class _Restore(_Storage):
    """To a settled `moment`, or without one to the parent's end. What it was becomes the branch `keep`."""

    branch: str
    moment: str | None
    keep: str

    @property
    def target(self) -> str:
        return f"branch {self.storage}/{self.branch}"


@dataclass(frozen=True)
class CheckRestore(_Restore):
    """Whether that can be done, before anything is stopped for it."""

    action = "check moment of"


@dataclass(frozen=True)
class RestoreBranch(_Restore):
    action = "restore"

    @property
    def final(self) -> bool:
        return True


@dataclass(frozen=True)
class PutSnapshot(_Storage):
    """`fresh`: it wasn't there, so undoing removes it."""

    action = "make snapshot"
    snapshot: str
    origin: Source
    fresh: bool

    @property
    def target(self) -> str:
        return f"snapshot {self.storage}/{self.snapshot}"


@dataclass(frozen=True)
class DropSnapshot(_Storage):
    action = "remove snapshot"
    snapshot: str

    @property
    def target(self) -> str:
        return f"snapshot {self.storage}/{self.snapshot}"


# ---- a compute


@dataclass(frozen=True)
class _Compute(Step):
    doc: PgDoc

    @property
    def target(self) -> str:
        return f"pg {self.doc.name}"


@dataclass(frozen=True)
class CheckSettings(_Compute):
    action = "check settings"


@dataclass(frozen=True)
class Prepare(_Compute):
    """`origin` makes the branch if it isn't there (`fresh_branch`). Undone only as far as this made things:
    a compute with writes is never removed by an undo."""

    action = "prepare"
    origin: Source | None = None
    fresh_branch: bool = False
    fresh_compute: bool = False


@dataclass(frozen=True)
class Layout(_Compute):
    action = "lay out"


@dataclass(frozen=True)
class CreateCompute(_Compute):
    action = "create container"
    place: ComputePlace
    image: str
    name: str

    @property
    def target(self) -> str:
        return self.name


@dataclass(frozen=True)
class Open(_Compute):
    """Start the container (a running one stays) and wait until clients get in, or it ends. `host` is its
    pod's address in the stack's network."""

    action = "start and open"
    container: str
    host: str
    wait_s: float = 900


@dataclass(frozen=True)
class DeleteCompute(_Compute):
    action = "delete data of"
    discard_writes: bool = False

    @property
    def final(self) -> bool:
        return True


@dataclass(frozen=True)
class DiscardCache(_Compute):
    """Its data goes, which safekeepers have too."""

    action = "discard data of"


# ---- structure


@dataclass(frozen=True)
class Together(Step):
    """Sequences that run beside each other; the first error is raised when all have ended."""

    action = "together"
    lanes: tuple[tuple[Step, ...], ...]

    @property
    def target(self) -> str:
        return " | ".join(step.target for lane in self.lanes for step in lane)


@dataclass(frozen=True)
class Plan:
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def flat(self) -> Iterator[Step]:
        return _flat(self.steps)

    def __add__(self, other: Plan) -> Plan:
        return Plan(self.steps + other.steps, self.notes + other.notes)

    def rows(self) -> list[Mapping[str, str]]:
        """What `--dry-run` prints."""
        return [{"action": step.action, "target": step.target, "why": step.why} for step in self.flat()]


def _flat(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Together):
            for lane in step.lanes:
                yield from _flat(lane)
        else:
            yield step


def name_of(doc: Doc) -> str:
    match doc:
        case StackDoc():
            return "stack"
        case StorageDoc():
            return f"storage {doc.name}"
        case PgDoc():
            return f"pg {doc.name}"
