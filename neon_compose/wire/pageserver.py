"""Messages between the controller and a storage's pageserver (internal HTTP, port 6400).

Requests refuse unknown fields; responses ignore them, so that a newer pageserver can say more.
LSNs are text like 0/1A2B3C4D, ids are UUIDs as text, times are RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from neon_compose.model.states import Durability

PORT = 6400

SettingValue = str | bool | int | float


class ImportAs(StrEnum):
    """What an import makes."""

    NEW = "new"  # a storage where none is
    REFRESH = "refresh"  # another content of `main` of the storage that is there


ImportFormat = Literal["auto", "plain", "custom", "directory", "tar"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# ---- the storage ---------------------------------------------------------------------------------


class InitialiseRequest(_Request):
    source: Literal["init"] = "init"


class StorageStatus(_Response):
    """What is under /storage. All fields but the first three are None or 0 while `empty`."""

    name: str
    empty: bool
    busy: str | None = None  # "initialise", "import" or "refresh" while one runs
    storage_id: str | None = None
    format: int | None = None
    postgres_major: int | None = None
    system_identifier: int | None = None
    default_database: str | None = None
    packages: list[str] = Field(default_factory=list)
    created_at: datetime | None = None
    branches: list[str] = Field(default_factory=list)
    snapshots: list[str] = Field(default_factory=list)
    size_bytes: int = 0  # allocated bytes of the storage tree
    redo_lag_bytes: int = 0  # of the branch that has most WAL after its layers
    redo_failing: int = 0  # branches whose last redo job ended with an error
    history_from: str | None = None  # from where on every moment of main stays open


class Credentials(_Response):
    """The role every storage has, and the default database of a branch. Secret: kept out of logs, labels and
    `StorageStatus`."""

    role: str
    password: str
    database: str


# ---- branches and snapshots ----------------------------------------------------------------------


class BranchRequest(_Request):
    """Where a new branch starts: at a moment of a branch and its ancestors, by default its end. `moment` is
    the text of a settled `model.moments.Moment`; a snapshot's name needs no branch."""

    from_branch: str | None = None
    moment: str | None = None


class SnapshotRequest(_Request):
    """What a new snapshot is of; as in `BranchRequest`."""

    from_branch: str
    moment: str | None = None


class Branch(_Response):
    """`tip_lsn` is the earliest moment that its newest layer opens, `redo_lag_bytes` the committed WAL after
    that, None if none is known of; `redo` is "running", or the last job's error (it is tried again)."""

    name: str
    id: str
    parent: str | None = None  # the parent's name, or its id when the name is gone
    snapshot: str | None = None  # a snapshot's name if the branch starts at one
    start_lsn: str
    writer: str | None = None  # the pg that is primary
    has_writes: bool = False
    created_at: datetime
    protected: bool = False
    expires: datetime | None = None
    tip_lsn: str | None = None
    redo_lag_bytes: int | None = None
    redo: str | None = None
    redo_rate: float | None = None  # bytes of WAL per second of the last job


class DeletedBranch(_Response):
    """One that can be taken back for `left_s` more seconds of a running pageserver."""

    name: str
    id: str
    parent: str | None = None
    deleted_at: datetime
    left_s: int


class UndeleteRequest(_Request):
    """Under the name it had, or `new_name`."""

    new_name: str | None = None


class RestoreRequest(_Request):
    """Back to `moment` of the branch's history, as in `BranchRequest`; without one to its parent's end.
    `keep` is the name of what it was. `check`: only say whether that can be done."""

    moment: str | None = None
    keep: str | None = None
    check: bool = False


class Restored(_Response):
    """Where the branch starts now, and what its old state is called; None after a check."""

    start_lsn: str | None
    kept: str | None


class Mark(StrEnum):
    PROTECT = "protect"
    UNPROTECT = "unprotect"
    EXPIRE = "expire"
    RECOVER = "recover"


class MarkRequest(_Request):
    """What is to become of the branch; `expires` goes with `Mark.EXPIRE`, None is never, `accept_loss` with
    `Mark.RECOVER`."""

    mark: Mark
    expires: datetime | None = None
    accept_loss: bool = False


class BranchSize(_Response):
    """Apart from `Branch`, which every request about branches asks for: this walks through files."""

    name: str
    own_bytes: int


class Redone(_Response):
    """What a redo job that was asked for came to."""

    layers: list[str]  # made, none if the WAL has no newer checkpoint
    tip_lsn: str
    wal_bytes: int = 0  # replayed
    ms: float


class Snapshot(_Response):
    name: str
    branch: str | None  # None when the branch is gone
    branch_id: str
    lsn: str
    created_at: datetime


class Leftover(_Response):
    """Something under /storage or /work that nothing needs. A running request's own things look the same."""

    kind: str  # "file", "branch", "snapshot", "layer", "compute data", …
    name: str
    why: str


# ---- computes ------------------------------------------------------------------------------------


class PrepareRequest(_Request):
    """`from_branch` and `moment` make the branch when it isn't there; without them it must be there.
    `durability` goes into the command: whom a commit waits for."""

    branch: str
    from_branch: str | None = None
    moment: str | None = None
    durability: Durability = Durability.LOCAL


class Prepared(_Response):
    """The branch exists, this pg is its writer, and the generation's folder can be bind-mounted.

    `command` is the compute container's whole command. `generation` stays the same until the pg is
    deleted.
    """

    generation: str
    branch_id: str
    tip: str
    created_branch: bool
    laid_out: bool
    needs_layout: bool  # the first `layout` call will make the files; later ones only rewrite settings
    command: list[str]


class SettingsRequest(_Request):
    """Checked as `layout` would, without touching anything."""

    settings: dict[str, SettingValue] = Field(default_factory=dict)
    durability: Durability = Durability.LOCAL


class LayoutRequest(_Request):
    generation: str
    port: int = Field(ge=1, le=65535)
    settings: dict[str, SettingValue] = Field(default_factory=dict)
    durability: Durability = Durability.LOCAL


class LaidOut(_Response):
    files: int  # relation files made; 0 when only settings were rewritten
    ms: float


class OpenRequest(_Request):
    """`host` is where safekeepers reach the compute: its pod's address in the stack's network."""

    generation: str
    host: str = ""
    port: int = Field(ge=1, le=65535)
    wait_s: float = Field(default=60.0, gt=0, le=3600)


class Opened(_Response):
    lsn: str
    ms: float
    recovered: bool = False  # crash recovery ran


class ComputeStatus(_Response):
    pg: str
    generation: str
    branch: str | None  # None when the branch's name is gone
    branch_id: str
    laid_out: bool
    settling: bool  # its files aren't known to be on disk yet
    doubtful: bool = False  # laid out in another boot and never marked
    opened: bool = False  # the gate let clients in at least once
    has_writes: bool
    own_bytes: int
    port: int | None = None
