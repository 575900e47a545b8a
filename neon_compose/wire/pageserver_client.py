"""The typed client of a pageserver: one method per call, problems become errors.

Nothing answering is `Unavailable`, no answer in time `TimedOut`. Every call may be repeated.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Any

import httpx
from pydantic import BaseModel, TypeAdapter

from neon_compose.model.states import Durability
from neon_compose.wire import ndjson
from neon_compose.wire.chronicle import BranchLog
from neon_compose.wire.component_client import ComponentClient
from neon_compose.wire.diff import DiffRequest, DiffSide
from neon_compose.wire.fetching import Fetch, FetchRequest
from neon_compose.wire.pageserver import (
    Branch,
    BranchRequest,
    BranchSize,
    ComputeStatus,
    Credentials,
    DeletedBranch,
    ImportAs,
    InitialiseRequest,
    LaidOut,
    LayoutRequest,
    Leftover,
    Mark,
    MarkRequest,
    Opened,
    OpenRequest,
    Prepared,
    PrepareRequest,
    Restored,
    RestoreRequest,
    SettingsRequest,
    SettingValue,
    Snapshot,
    SnapshotRequest,
    StorageStatus,
    UndeleteRequest,
)

_CALL_S = 60.0
_LOOK_S = 10.0  # for what only reads
_FILES_S = 900.0  # what makes or removes a file per relation: 100,000 of them may take minutes
_CONNECT_S = 5.0
_MARGIN_S = 5.0  # the server gives up first, and says why

_BRANCHES = TypeAdapter(list[Branch])
_DELETED = TypeAdapter(list[DeletedBranch])
_IDS = TypeAdapter(list[str])
_SIZES = TypeAdapter(list[BranchSize])
_SNAPSHOTS = TypeAdapter(list[Snapshot])
_COMPUTES = TypeAdapter(list[ComputeStatus])
_LEFTOVERS = TypeAdapter(list[Leftover])


class PageserverClient(ComponentClient):
    """Calls to one pageserver."""

    component = "pageserver"
    call_s = _CALL_S
    connect_s = _CONNECT_S

    # ---- the storage

    def status(self) -> StorageStatus:
        return StorageStatus.model_validate(self._look("/v1/status"))

    def credentials(self, branch: str) -> Credentials:
        """For a pg on `branch`, which need not be there yet."""
        return Credentials.model_validate(self._look(f"/v1/credentials?branch={branch}"))

    def leftovers(self) -> list[Leftover]:
        """What nothing needs any more; means something only while no request runs there."""
        return _LEFTOVERS.validate_python(self._look("/v1/leftovers"))

    def initialise(self) -> Iterator[ndjson.Event]:
        """Make the storage if there is none; steps, then a `Result` holding a `StorageStatus`."""
        return self._stream("POST", "/v1/initialise", body=InitialiseRequest())

    def import_stream(
        self, fmt: str, chunks: Iterator[bytes], what: ImportAs = ImportAs.NEW
    ) -> Iterator[ndjson.Event]:
        """Make the storage, or its next content, from a dump; closing the iterator cancels the import, which
        leaves nothing."""
        return self._stream("PUT", "/v1/import", params={"format": fmt, "what": what}, chunks=chunks)

    def begin_fetch(self, request: FetchRequest, what: ImportAs = ImportAs.NEW) -> Fetch:
        """A folder in the work volume for a fetching container; `import_fetched` or `drop_fetch` ends it."""
        return Fetch.model_validate(self._call("POST", f"/v1/fetches?what={what}", request))

    def drop_fetch(self, fetch_id: str) -> None:
        """Repeat is success."""
        self._send("DELETE", f"/v1/fetches/{fetch_id}")

    def import_fetched(self, fetch_id: str, what: ImportAs = ImportAs.NEW) -> Iterator[ndjson.Event]:
        """Make the storage, or its next content, of what was fetched; as `import_stream`."""
        return self._stream("POST", f"/v1/fetches/{fetch_id}/import", params={"what": what})

    # ---- branches and snapshots

    def branches(self) -> list[Branch]:
        return _BRANCHES.validate_python(self._look("/v1/branches"))

    def branch_ids(self) -> list[str]:
        """Of all branches that there are or were, as far as the storage knows."""
        return _IDS.validate_python(self._look("/v1/branch-ids"))

    def sizes(self) -> list[BranchSize]:
        """Disk that is each branch's own."""
        return _SIZES.validate_python(self._look("/v1/sizes"))

    def snapshots(self) -> list[Snapshot]:
        return _SNAPSHOTS.validate_python(self._look("/v1/snapshots"))

    def snapshot(self, name: str) -> Snapshot:
        return Snapshot.model_validate(self._look(f"/v1/snapshots/{name}"))

    def create_snapshot(
        self, name: str, *, from_branch: str, moment: str | None = None
    ) -> tuple[Snapshot, bool]:
        """The snapshot, and whether this call made it."""
        body = SnapshotRequest(from_branch=from_branch, moment=moment)
        response = self._send("PUT", f"/v1/snapshots/{name}", body)
        return Snapshot.model_validate(response.json()), response.status_code == httpx.codes.CREATED

    def delete_snapshot(self, name: str) -> None:
        self._send("DELETE", f"/v1/snapshots/{name}")

    def create_branch(
        self, name: str, *, from_branch: str | None = None, moment: str | None = None
    ) -> tuple[Branch, bool]:
        """The branch, and whether this call made it."""
        body = BranchRequest(from_branch=from_branch, moment=moment)
        response = self._send("PUT", f"/v1/branches/{name}", body)
        return Branch.model_validate(response.json()), response.status_code == httpx.codes.CREATED

    def delete_branch(self, name: str, *, now: bool = False) -> None:
        """It can be taken back for a day, or with `now` never."""
        self._send("DELETE", f"/v1/branches/{name}?now={'true' if now else 'false'}")

    def deleted_branches(self) -> list[DeletedBranch]:
        return _DELETED.validate_python(self._look("/v1/deleted-branches"))

    def end_deleted(self, name: str) -> None:
        """None of the deleted branches of the name can be taken back. Repeat is success."""
        self._send("DELETE", f"/v1/deleted-branches/{name}")

    def undelete_branch(self, name: str, new_name: str | None = None) -> Branch:
        """Take back the last deleted of the name; repeat is success."""
        body = UndeleteRequest(new_name=new_name)
        return Branch.model_validate(self._call("POST", f"/v1/deleted-branches/{name}/undelete", body))

    def restore_branch(
        self, name: str, *, moment: str | None = None, keep: str | None = None, check: bool = False
    ) -> Restored:
        """Back to `moment`, or without one to its parent's end; `check` changes nothing."""
        body = RestoreRequest(moment=moment, keep=keep, check=check)
        return Restored.model_validate(self._call("POST", f"/v1/branches/{name}/restore", body, _FILES_S))

    def mark_branch(
        self, name: str, mark: Mark, expires: datetime | None = None, *, accept_loss: bool = False
    ) -> Branch:
        """Protect it or not, or have it expire; repeat is success."""
        body = MarkRequest(mark=mark, expires=expires, accept_loss=accept_loss)
        return Branch.model_validate(self._call("POST", f"/v1/branches/{name}/mark", body))

    def redo(self, name: str) -> Iterator[ndjson.Event]:
        """Replay the branch's WAL into a layer; steps, then a `Result` holding a `Redone`."""
        return self._stream("POST", f"/v1/branches/{name}/redo")

    def branch_log(self, name: str, limit: int) -> BranchLog:
        """What its own WAL says of the newest `limit` minutes; first that is fetched, and read."""
        return BranchLog.model_validate(
            self._call("GET", f"/v1/branches/{name}/log?limit={limit}", timeout_s=_FILES_S)
        )

    def diff(self, before: DiffSide, after: DiffSide) -> Generator[ndjson.Event]:
        """What differs between two moments; steps, then a `Result` holding a `Diff`. Closing it ends it."""
        yield from self._stream("POST", "/v1/diff", body=DiffRequest(before=before, after=after))

    # ---- computes

    def prepare(
        self,
        pg: str,
        branch: str,
        *,
        from_branch: str | None = None,
        moment: str | None = None,
        durability: Durability = Durability.LOCAL,
    ) -> Prepared:
        body = PrepareRequest(branch=branch, from_branch=from_branch, moment=moment, durability=durability)
        return Prepared.model_validate(self._call("POST", f"/v1/computes/{pg}/prepare", body, _FILES_S))

    def check_settings(
        self, settings: Mapping[str, SettingValue], durability: Durability = Durability.LOCAL
    ) -> None:
        """Raise `Invalid` for what `layout` would refuse; touches nothing."""
        self._send("POST", "/v1/settings", SettingsRequest(settings=dict(settings), durability=durability))

    def layout(
        self,
        pg: str,
        generation: str,
        port: int,
        settings: Mapping[str, SettingValue],
        durability: Durability = Durability.LOCAL,
    ) -> LaidOut:
        body = LayoutRequest(generation=generation, port=port, settings=dict(settings), durability=durability)
        return LaidOut.model_validate(self._call("POST", f"/v1/computes/{pg}/layout", body, _FILES_S))

    def open(self, pg: str, generation: str, port: int, wait_s: float = 60.0, *, host: str = "") -> Opened:
        """Returns when TCP clients get in. `host` is the compute's address in the stack's network."""
        body = OpenRequest(generation=generation, host=host, port=port, wait_s=wait_s)
        timeout_s = wait_s + _MARGIN_S
        return Opened.model_validate(self._call("POST", f"/v1/computes/{pg}/open", body, timeout_s))

    def compute(self, pg: str) -> ComputeStatus:
        return ComputeStatus.model_validate(self._look(f"/v1/computes/{pg}"))

    def computes(self) -> list[ComputeStatus]:
        return _COMPUTES.validate_python(self._look("/v1/computes"))

    def delete_compute(self, pg: str, *, discard_writes: bool = False) -> None:
        flag = "true" if discard_writes else "false"
        self._send("DELETE", f"/v1/computes/{pg}?discard_writes={flag}", timeout_s=_FILES_S)

    def discard_cache(self, pg: str) -> None:
        """Remove the pg's data, which safekeepers have too; it keeps its branch. Repeat is success."""
        self._send("DELETE", f"/v1/computes/{pg}?cache=true", timeout_s=_FILES_S)

    # ---- transport

    def _look(self, path: str) -> Any:
        return self._send("GET", path, timeout_s=_LOOK_S).json()

    def _call(self, method: str, path: str, body: BaseModel | None = None, timeout_s: float = _CALL_S) -> Any:
        return self._send(method, path, body, timeout_s).json()

    def _send(
        self, method: str, path: str, body: BaseModel | None = None, timeout_s: float = _CALL_S
    ) -> httpx.Response:
        content = body.model_dump_json() if body is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else None
        return self._request(method, path, timeout_s, content=content, headers=headers)

    def _stream(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | None = None,
        params: Mapping[str, str] | None = None,
        chunks: Iterator[bytes] | None = None,
    ) -> Iterator[ndjson.Event]:
        content: Iterator[bytes] | str = body.model_dump_json() if body is not None else (chunks or iter(()))
        kind = "application/json" if body is not None else "application/octet-stream"
        headers = {"Content-Type": kind}
        with self._streaming(method, path, None, params=params, content=content, headers=headers) as response:
            yield from ndjson.decode(response.iter_lines())
