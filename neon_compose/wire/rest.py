"""Messages of the public REST API on :3000; the CLI and the API share them.

Requests refuse unknown fields; responses ignore them, so that an older CLI reads a newer controller.
Names are checked by the API with `model.names`, sources with `model.source`: here they are text.
Aliases (`import`, `from`) are what goes over the wire; `model_dump(mode="json")` writes them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    StrictInt,
    WithJsonSchema,
)

from neon_compose.model.history import AGE, SIZE
from neon_compose.model.moments import PATTERN as MOMENT
from neon_compose.model.names import PATTERN
from neon_compose.model.states import Component, Durability, PgState, StorageType
from neon_compose.model.troubles import Trouble
from neon_compose.model.ttl import PATTERN as TTL

PORT = 3000

SettingValue = str | bool | int | float

# Only documented here: `parse_name` and `parse_source` check, with better words than Pydantic's.
NAME_SCHEMA: dict[str, Any] = {"pattern": f"^{PATTERN}$"}
NameText = Annotated[str, Field(json_schema_extra=NAME_SCHEMA)]
SourceText = Annotated[str, Field(json_schema_extra={"pattern": f"^({PATTERN}/)?{PATTERN}(@({MOMENT}))?$"})]

HistoryText = Annotated[str, Field(json_schema_extra={"pattern": f"^({AGE})$"})]
HistorySizeText = Annotated[str, Field(json_schema_extra={"pattern": f"^({SIZE})$"})]
TtlText = Annotated[str, Field(json_schema_extra={"pattern": f"^{TTL}$"})]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


class _Response(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, serialize_by_alias=True)


# ---- requests ------------------------------------------------------------------------------------


class StorageIn(_Request):
    """PUT /storages. With `import` the answer is NDJSON: an absolute path on the engine's machine (a dump,
    or a data directory), or the URL of a server, whose password may come apart from it. `history` and
    `history_size` say how long ago and how much WAL back moments stay open; None leaves that as it is, 7d and
    10GiB in a new one."""

    name: NameText
    type: StorageType
    path: str | None = None
    import_: str | None = Field(default=None, validation_alias="import", serialization_alias="import")
    import_password: SecretStr | None = None
    history: HistoryText | None = None
    history_size: HistorySizeText | None = None


class StorageVerb(StrEnum):
    REFRESH = "refresh"


class StorageAction(_Request):
    """POST /storages/{s}/actions, NDJSON back. `import` as in `StorageIn`; None: where its content came
    from."""

    action: StorageVerb
    import_: str | None = Field(default=None, validation_alias="import", serialization_alias="import")
    import_password: SecretStr | None = None


class PgIn(_Request):
    """PUT /pgs. What is None stays as it is when the pg exists, else gets its default. `ttl` is of its
    branch, from now on."""

    name: NameText
    storage_name: NameText
    branch: NameText | None = None
    from_: SourceText | None = Field(default=None, validation_alias="from", serialization_alias="from")
    port: Annotated[StrictInt, Field(ge=1024, le=65535)] | None = None
    settings: dict[str, SettingValue] | None = None
    durability: Durability | None = None
    start: StrictBool = False
    ttl: TtlText | None = None


class PgVerb(StrEnum):
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    PROMOTE = "promote"
    CHECKOUT = "checkout"
    DISCARD_CACHE = "discard-cache"


class PgAction(_Request):
    """POST /pgs/{p}/actions. `is_replica` is the RFC's field: "replica" or a boolean. `branch` is what a
    checkout goes to; "-" is the one before."""

    action: PgVerb
    branch: Annotated[str, Field(json_schema_extra={"pattern": f"^(-|{PATTERN})$"})] | None = None
    is_replica: Literal["replica"] | StrictBool | None = None


class BranchIn(_Request):
    """PUT /storages/{s}/branches/{b}. Without `from` the branch must exist. It goes, with its pgs, when `ttl`
    from now on is over; None leaves that as it is."""

    from_: SourceText | None = Field(default=None, validation_alias="from", serialization_alias="from")
    ttl: TtlText | None = None


class BranchVerb(StrEnum):
    RESTORE = "restore"
    RESET = "reset"
    PROTECT = "protect"
    UNPROTECT = "unprotect"
    EXPIRE = "expire"
    UNDELETE = "undelete"
    RECOVER = "recover"
    DIFF = "diff"


class BranchAction(_Request):
    """POST /storages/{s}/branches/{b}/actions. A restore goes `to` a moment, a reset to the parent's end;
    `keep` is the name of the branch that what it was becomes, by default `<name>-before-<time>`.
    It expires after `ttl`, or never; a protected one is not deleted, restored, reset or refreshed.
    An undelete takes back the last deleted branch of the name, under another name if `as` says so. Recovering
    has one whose safekeepers are lost go on from what there is, if `accept_loss` says so. A diff is of the
    branch `at` a moment, by default its end, and of what it is compared `with`; NDJSON back."""

    action: BranchVerb
    to: Annotated[str, Field(json_schema_extra={"pattern": f"^({MOMENT})$"})] | None = None
    keep: NameText | None = None
    as_: NameText | None = Field(default=None, validation_alias="as", serialization_alias="as")
    ttl: TtlText | None = None
    accept_loss: bool = False
    with_: SourceText | None = Field(default=None, validation_alias="with", serialization_alias="with")
    at: Annotated[str, Field(json_schema_extra={"pattern": f"^({MOMENT})$"})] | None = None


class SnapshotVerb(StrEnum):
    DIFF = "diff"


class SnapshotAction(_Request):
    """POST /snapshots/{s}/{n}/actions, NDJSON back. `with` is another snapshot of the storage, or if there is
    none of that name, a source."""

    action: SnapshotVerb
    with_: SourceText = Field(validation_alias="with", serialization_alias="with")


class SnapshotIn(_Request):
    """PUT /snapshots/{s}/{n}."""

    from_: SourceText = Field(validation_alias="from", serialization_alias="from")


class StackIn(_Request):
    """PUT /stack. `config` is a resolved stack file (`StackFile.as_document`), `images` component -> tag."""

    config: dict[str, Any]
    images: dict[str, str] = Field(default_factory=dict)
    passwords: dict[str, SecretStr] = Field(default_factory=dict)  # of servers to import from, by storage
    prune: StrictBool = False


# ---- answers -------------------------------------------------------------------------------------


class StorageState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    MISSING = "missing"  # a document, but no container
    FAILED = "failed"  # a container, but nothing in it answers


class StorageOut(_Response):
    """A storage. What only its pageserver knows is None or empty while that does not run."""

    name: str
    type: StorageType
    path: str | None = None  # the host folder; None for a volume
    imported: str | None = None  # the server or engine-side path its first content came from
    history: str  # how long ago moments stay open
    history_size: str  # and how much WAL back
    history_from: str | None = None  # the LSN from which on every moment of main is open
    state: StorageState
    storage_id: str | None = None
    postgres: int | None = None
    default_database: str | None = None
    branches: list[str] = Field(default_factory=list)
    snapshots: list[str] = Field(default_factory=list)
    size_bytes: int | None = None
    created_at: datetime | None = None
    note: str | None = None


class PgOut(_Response):
    """A pg. `settling`, `has_writes` and `own_bytes` are None while its storage does not answer."""

    name: str
    storage_name: str
    branch: str
    from_: str | None = Field(default=None, validation_alias="from", serialization_alias="from")
    state: PgState
    port: int
    durability: Durability
    settings: dict[str, SettingValue] = Field(default_factory=dict)
    restart_needed: bool = False
    settling: bool | None = None
    has_writes: bool | None = None
    own_bytes: int | None = None
    note: str | None = None
    url: str  # without the password
    created_at: datetime
    pod: str | None = None  # the container that publishes its port


class PgUrl(_Response):
    """GET /pgs/{p}/url: with the password. `direct` and `socket` work on a Linux engine's own machine."""

    url: str
    direct: str | None = None
    socket: str | None = None


class BranchOut(_Response):
    """`own_bytes` are those it doesn't share with its parent, `wal_bytes` the committed WAL that isn't in a
    layer yet; None where it isn't known."""

    storage_name: str
    name: str
    id: str
    parent: str | None = None
    snapshot: str | None = None  # where it starts, if that has a name
    start_lsn: str | None = None
    own_bytes: int | None = None
    wal_bytes: int | None = None
    writer: str | None = None
    has_writes: bool = False
    created_at: datetime
    protected: bool = False
    expires: datetime | None = None  # when it goes, with its pgs
    redo_lag_bytes: int | None = None  # committed WAL that is not in a layer yet
    redo: str | None = None  # "running", or the error of the last redo job


class DeletedBranchOut(_Response):
    """A deleted branch that can be taken back for at least `left_s` more seconds in which its storage's
    pageserver runs."""

    storage_name: str
    name: str
    id: str
    parent: str | None = None
    deleted_at: datetime
    left_s: int


class RestoredOut(_Response):
    """A restored branch, and what its old state is called."""

    branch: BranchOut
    kept: str


class SnapshotOut(_Response):
    storage_name: str
    name: str
    branch: str | None = None
    lsn: str
    created_at: datetime


class ComponentOut(_Response):
    """A container of the stack. `healthy` is None where nothing can be asked (pods)."""

    name: str
    component: Component
    image: str
    state: str  # the engine's word: running, exited, created, …
    healthy: bool | None = None
    storage: str | None = None
    pg: str | None = None
    ports: str | None = None
    address: str | None = None
    created_at: datetime | None = None
    outdated: bool = False  # made from another image than the stack's


class LeftoverOut(_Response):
    """GET /leftovers: a thing of the stack that nothing needs. `storage_name` if it lies in a storage."""

    kind: str  # "container", "network", "volume", "document", "file", "branch", …
    name: str
    why: str
    storage_name: str | None = None


class StatusOut(_Response):
    """GET /status: the whole stack at a glance."""

    stack: str
    version: str
    busy: str | None = None  # "starting", "stopping" or None
    problems: list[str] = Field(default_factory=list)
    components: list[ComponentOut] = Field(default_factory=list)
    storages: list[StorageOut] = Field(default_factory=list)
    pgs: list[PgOut] = Field(default_factory=list)


class FindingOut(_Response):
    """Something that is wrong, or (not `wrong`) worth to know: what it means and what to do about it."""

    kind: Trouble
    name: str  # a container, storage or pg
    found: str
    means: str
    hint: str
    wrong: bool


class FindingsOut(_Response):
    """GET /findings. `now` is the controller's clock."""

    now: datetime
    findings: list[FindingOut]


class PlannedStep(_Response):
    action: str
    target: str
    why: str = ""


class PlanOut(_Response):
    """The answer to any mutating call with `?dry_run=true`."""

    plan: list[PlannedStep]


class StackOut(_Response):
    """The last line of PUT /stack and POST /stack/stop. `problems` are what could not be brought up, `notes`
    what is not as the stack file says for a reason."""

    stack: str
    pgs: list[PgOut] = Field(default_factory=list)
    storages: list[StorageOut] = Field(default_factory=list)
    problems: list[dict[str, Any]] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class Problem(_Response):
    """RFC 9457 problem document; `errors.from_problem` rebuilds the error."""

    type: str
    title: str
    status: int
    detail: str = ""
    hint: str = ""
    code: str
    kind: str


def _flag(value: object) -> object:
    """An empty flag (`?dry_run`) is a true one."""
    return True if value == "" else value


_FLAGS = ["", "1", "0", "yes", "no", "on", "off", "y", "n", "t", "f"]  # what Pydantic takes for a boolean
Flag = Annotated[
    bool,
    BeforeValidator(_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string", "enum": _FLAGS}]}),
]
