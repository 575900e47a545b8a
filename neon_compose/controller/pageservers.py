"""Clients of the pageservers.

`Pageserver` is the part of `wire.pageserver_client` that the controller uses; tests give a fake.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from neon_compose.controller.clients import Clients
from neon_compose.model.states import Durability
from neon_compose.wire import ndjson
from neon_compose.wire.chronicle import BranchLog
from neon_compose.wire.diff import DiffSide
from neon_compose.wire.fetching import Fetch, FetchRequest
from neon_compose.wire.pageserver import (
    PORT,
    Branch,
    BranchSize,
    ComputeStatus,
    Credentials,
    DeletedBranch,
    ImportAs,
    LaidOut,
    Leftover,
    Mark,
    Opened,
    Prepared,
    Restored,
    SettingValue,
    Snapshot,
    StorageStatus,
)
from neon_compose.wire.pageserver_client import PageserverClient


class Pageserver(Protocol):
    """See `PageserverClient` for the contract of each call."""

    def healthy(self) -> bool: ...
    def status(self) -> StorageStatus: ...
    def credentials(self, branch: str) -> Credentials: ...
    def leftovers(self) -> list[Leftover]: ...
    def initialise(self) -> Iterator[ndjson.Event]: ...
    def import_stream(
        self, fmt: str, chunks: Iterator[bytes], what: ImportAs = ImportAs.NEW
    ) -> Iterator[ndjson.Event]: ...
    def begin_fetch(self, request: FetchRequest, what: ImportAs = ImportAs.NEW) -> Fetch: ...
    def drop_fetch(self, fetch_id: str) -> None: ...
    def import_fetched(self, fetch_id: str, what: ImportAs = ImportAs.NEW) -> Iterator[ndjson.Event]: ...
    def branches(self) -> list[Branch]: ...
    def branch_ids(self) -> list[str]: ...
    def sizes(self) -> list[BranchSize]: ...
    def snapshots(self) -> list[Snapshot]: ...
    def snapshot(self, name: str) -> Snapshot: ...
    def create_snapshot(
        self, name: str, *, from_branch: str, moment: str | None = None
    ) -> tuple[Snapshot, bool]: ...
    def delete_snapshot(self, name: str) -> None: ...
    def create_branch(
        self, name: str, *, from_branch: str | None = None, moment: str | None = None
    ) -> tuple[Branch, bool]: ...
    def delete_branch(self, name: str, *, now: bool = False) -> None: ...
    def deleted_branches(self) -> list[DeletedBranch]: ...
    def end_deleted(self, name: str) -> None: ...
    def undelete_branch(self, name: str, new_name: str | None = None) -> Branch: ...
    def restore_branch(
        self, name: str, *, moment: str | None = None, keep: str | None = None, check: bool = False
    ) -> Restored: ...
    def branch_log(self, name: str, limit: int) -> BranchLog: ...
    def diff(self, before: DiffSide, after: DiffSide) -> Generator[ndjson.Event]: ...
    def mark_branch(
        self, name: str, mark: Mark, expires: datetime | None = None, *, accept_loss: bool = False
    ) -> Branch: ...
    def prepare(
        self,
        pg: str,
        branch: str,
        *,
        from_branch: str | None = None,
        moment: str | None = None,
        durability: Durability = Durability.LOCAL,
    ) -> Prepared: ...
    def check_settings(
        self, settings: Mapping[str, SettingValue], durability: Durability = Durability.LOCAL
    ) -> None: ...
    def layout(
        self,
        pg: str,
        generation: str,
        port: int,
        settings: Mapping[str, SettingValue],
        durability: Durability = Durability.LOCAL,
    ) -> LaidOut: ...
    def open(
        self, pg: str, generation: str, port: int, wait_s: float = 60.0, *, host: str = ""
    ) -> Opened: ...
    def compute(self, pg: str) -> ComputeStatus: ...
    def computes(self) -> list[ComputeStatus]: ...
    def delete_compute(self, pg: str, *, discard_writes: bool = False) -> None: ...
    def discard_cache(self, pg: str) -> None: ...


Pageservers = Clients[Pageserver]


def over_http(internal_token: str) -> Pageservers:
    """Real ones."""
    return Pageservers(lambda address: PageserverClient(f"http://{address}:{PORT}", internal_token))
