"""The JSON documents of a storage (DESIGN 5), as frozen dataclasses.

    storage.json                    StorageDoc    0600: holds the password of neon_admin
    refs/branches/<name>.json       BranchRef     name -> branch id
    refs/snapshots/<name>.json      SnapshotRef   name -> (branch id, LSN, time)
    branches/<branch-id>.json       Manifest
    refresh.json                    Refresh       while a newer copy of the source is brought in
    restores/<name>.json            Restore       while a branch goes back to a moment

JSON: UTF-8, keys sorted, two spaces, a line end; ids as UUIDs, LSNs as 0/1A2B3C4D, times as RFC 3339 in
UTC; a `checksum` (codec). Every document says its `format`; a newer one is refused by name. Unknown,
missing or ill-typed fields are `Corrupt`: format 1 has exactly these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from neon_compose.model.lsn import Lsn
from neon_compose.terms.register import Register

FORMAT = 1

STORAGE_KEY = "storage.json"
REFRESH_KEY = "refresh.json"
RESTORES = "restores/"


@dataclass(frozen=True)
class Initial:
    """What a new storage still has to name: see manifests.create_storage."""

    branch_id: UUID
    snapshot: str
    snapshot_id: UUID
    lsn: Lsn


@dataclass(frozen=True)
class Cluster:
    """What one import brings and the next brings anew; a storage has one per root branch."""

    system_identifier: int
    default_database: str


@dataclass(frozen=True)
class StorageDoc:
    """`system_identifier` and `default_database` are those of the storage's first content."""

    storage_id: UUID
    postgres_major: int
    system_identifier: int
    default_database: str
    admin_password: str = field(repr=False)
    created: datetime
    packages: tuple[str, ...] = ()
    initial: Initial | None = None
    format: int = FORMAT

    @property
    def cluster(self) -> Cluster:
        """That of every branch whose manifest names no other."""
        return Cluster(self.system_identifier, self.default_database)


@dataclass(frozen=True)
class Refresh:
    """What a refresh makes, written before any of it is there: see refreshes."""

    branch_id: UUID
    layer_id: UUID
    snapshot_id: UUID
    begun: datetime
    format: int = FORMAT


@dataclass(frozen=True)
class Point:
    """A moment of a branch."""

    branch_id: UUID
    lsn: Lsn


@dataclass(frozen=True)
class BranchRef:
    """A claimed name. Not a branch before the manifest of `branch_id` exists; `parent` is what the claimer
    wants to make, so that a repeat can finish it and another wish is a conflict. `asked` is that wish in
    words: of those that mean the end of a branch, `parent` is what they meant when they came first.
    `token` is of the undelete that wrote it."""

    branch_id: UUID
    parent: Point | None
    deleted: datetime | None = None
    asked: str | None = None
    token: UUID | None = None
    format: int = FORMAT


@dataclass(frozen=True)
class SnapshotRef:
    """A claimed name. Not a snapshot before the branch's manifest has the pin `snapshot_id`. `asked` as in
    `BranchRef`."""

    branch_id: UUID
    lsn: Lsn
    time: datetime
    snapshot_id: UUID
    deleted: datetime | None = None
    asked: str | None = None
    format: int = FORMAT


class PinKind(StrEnum):
    BRANCH = "branch"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Pin:
    """Keeps what is needed to open `lsn`, for the child branch or snapshot with this id.

    A `dormant` one is of a deleted branch that can be taken back: its parent may be deleted too, but stays as
    long. `token` is of the undelete that woke it."""

    kind: PinKind
    id: UUID
    lsn: Lsn
    dormant: bool = False
    token: UUID | None = None


@dataclass(frozen=True)
class Lease:
    """A reader's wish, until it expires."""

    id: UUID
    holder: str
    expires: datetime


@dataclass(frozen=True)
class Writer:
    """The compute that writes to the branch."""

    pg: str
    generation: str


@dataclass(frozen=True)
class WalRange:
    term: int
    start: Lsn
    end: Lsn


@dataclass(frozen=True)
class Sealed:
    """No compute of the decided `term` runs, and the WAL archive has all it wrote, up to `end`."""

    term: int
    end: Lsn


@dataclass(frozen=True)
class Kept:
    """Of a deleted branch that can be taken back: for how long, in time that somebody saw pass. Who is about
    to bury its name changes `guard` first, and fails an undelete that is under way (see burials)."""

    left_s: int
    guard: UUID


@dataclass(frozen=True)
class Manifest:
    branch_id: UUID
    name: str
    parent: Point | None
    layers: tuple[UUID, ...]  # bottom to top
    created: datetime
    wal: tuple[WalRange, ...] = ()
    term: int = 0
    writer: Writer | None = None
    pins: tuple[Pin, ...] = ()
    leases: tuple[Lease, ...] = ()
    deleted: datetime | None = None  # a fence: no change is made to a deleted branch
    kept: Kept | None = None  # of a deleted one; None: it is gone for good, whatever of it is still there
    revived: UUID | None = None  # the token of the undelete that took it back
    cluster: Cluster | None = None  # None: the storage's first
    successor: UUID | None = None  # the branch that has the name now, after a refresh
    replaces: UUID | None = None  # the branch that had the name before, until a restore
    register: Register | None = None  # terms and safekeepers; None: no safekeeper ever had its WAL
    protected: bool = False  # neither deleted nor restored nor refreshed
    expires: datetime | None = None  # when it is to be deleted
    durable: bool = False  # safekeepers have all that its writer acknowledged: the data directory is a cache
    sealed: Sealed | None = None  # taken back before a compute goes on in that term
    format: int = FORMAT

    @property
    def tip(self) -> UUID:
        return self.layers[-1]

    @property
    def rests_at(self) -> Lsn | None:
        """The end of its WAL, if it is sealed there: then its safekeepers aren't needed to open it."""
        decided = self.register.decided.history.last.term if self.register else 0
        return self.sealed.end if self.sealed is not None and self.sealed.term == decided > 0 else None

    @property
    def gone(self) -> bool:
        """Deleted, and never to be taken back."""
        return self.deleted is not None and self.kept is None


@dataclass(frozen=True)
class Restore:
    """What a restore of the branch `name` makes, written before any of it is there: see restores. `old_id`
    and `old_parent` are those of the name's document, `writer` the old branch's."""

    name: str
    old_id: UUID
    old_parent: Point | None
    writer: Writer | None
    new_id: UUID
    point: Point
    keep: str
    begun: datetime
    format: int = FORMAT


def branch_ref_key(name: str) -> str:
    return f"refs/branches/{name}.json"


def snapshot_ref_key(name: str) -> str:
    return f"refs/snapshots/{name}.json"


def manifest_key(branch_id: UUID) -> str:
    return f"branches/{branch_id}.json"


def restore_key(name: str) -> str:
    return f"{RESTORES}{name}.json"
