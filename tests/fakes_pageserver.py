"""An in-memory stand-in for pageservers and their storages, with the real one's contract."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5

from neon_compose.engine import labels as label
from neon_compose.engine.runtime import (
    ContainerState,
)
from neon_compose.errors import Conflict, Invalid, NeonError, NotFound, TimedOut, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.model.states import Component, Durability
from neon_compose.wire import ndjson
from neon_compose.wire.chronicle import BranchLog, LogMinute
from neon_compose.wire.diff import Change, DatabaseDiff, Diff, DiffMoment, DiffSide, Pages, TableDiff
from neon_compose.wire.fetching import Fetch, FetchRequest
from neon_compose.wire.pageserver import (
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
from tests.fakes import FakeEngine

_PAGES = Pages(before=2, after=3, changed=1)


@dataclass
class _Compute:
    generation: str
    branch: str
    laid_out: bool = False
    opened: bool = False
    has_writes: bool = False
    durability: Durability = Durability.LOCAL  # of the last prepare
    host: str = ""  # of the last open


@dataclass
class FakeStore:
    """What a storage holds; outlives its pageserver, as a volume does."""

    name: str
    empty: bool = True
    snapshots: dict[str, str] = field(default_factory=dict)  # name -> branch
    asked: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # snapshot -> in which words
    branches: dict[str, tuple[str | None, str | None, str | None]] = field(default_factory=dict)
    computes: dict[str, _Compute] = field(default_factory=dict)
    imported: bytes = b""
    fetches: dict[str, FetchRequest] = field(default_factory=dict)
    folder: Path | None = None
    protected: set[str] = field(default_factory=set)
    expires: dict[str, datetime] = field(default_factory=dict)
    deleted: list[tuple[str, tuple[str | None, str | None, str | None]]] = field(default_factory=list)


def branch_uuid(storage: str, branch: str) -> UUID:
    """What a branch has on safekeepers."""
    return uuid5(NAMESPACE_URL, f"{storage}/{branch}")


@dataclass
class FakePageservers:
    """`make(address)` gives the pageserver that runs there in `engine`."""

    engine: FakeEngine
    stores: dict[str, FakeStore] = field(default_factory=dict)
    open_blocks_s: float = 0.0
    never_opens: bool = False
    silent: set[str] = field(default_factory=set)  # storages whose pageserver answers nobody
    unanswered: threading.Event = field(default_factory=threading.Event)  # somebody asked such a one
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
        box = self._all.engine.server_at(Component.PAGESERVER, self._address)
        if box is None or box.state is not ContainerState.RUNNING:
            raise Unavailable(f"the pageserver at {self._address} does not answer", code="pageserver_down")
        if box.spec.labels[label.STORAGE] in self._all.silent:
            self._all.unanswered.set()
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

    def credentials(self, branch: str) -> Credentials:  # noqa: ARG002
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

    def import_stream(
        self, fmt: str, chunks: Iterator[bytes], what: ImportAs = ImportAs.NEW
    ) -> Iterator[ndjson.Event]:
        store = self._store
        self._refuse_import(store, what)
        with self._change("import"):
            data = b""
            for chunk in chunks:
                data += chunk
                self._all.import_hook(len(data))
                yield ndjson.Step(name="restore", state="progress", bytes=len(data))
            if not data.startswith(b"PGDMP") and fmt != "directory":
                raise Invalid("the upload is not a dump", code="not_a_dump")
            store.imported = data
            self._fill(store, "import", what)
        yield ndjson.Result(result={})

    def begin_fetch(self, request: FetchRequest, what: ImportAs = ImportAs.NEW) -> Fetch:
        store = self._store
        self._refuse_import(store, what)
        with self._change("begin_fetch"):
            store.fetches["fetch-0"] = request
        return Fetch(id="fetch-0")

    def drop_fetch(self, fetch_id: str) -> None:
        self._store.fetches.pop(fetch_id, None)

    def import_fetched(self, fetch_id: str, what: ImportAs = ImportAs.NEW) -> Iterator[ndjson.Event]:
        with self._change("import_fetched"):
            store = self._store
            store.imported = store.fetches[fetch_id].model_dump_json().encode()
            self._fill(store, "import", what)
        yield ndjson.Result(result={})

    @staticmethod
    def _refuse_import(store: FakeStore, what: ImportAs) -> None:
        if what is ImportAs.NEW and not store.empty:
            raise Conflict(f'storage "{store.name}" is not empty', code="not_empty")
        if what is ImportAs.REFRESH and store.branches["main"][2] is not None:
            raise Conflict('branch "main" is in use', code="branch_in_use")

    @staticmethod
    def _fill(store: FakeStore, snapshot: str, what: ImportAs = ImportAs.NEW) -> None:
        if what is ImportAs.REFRESH:
            store.snapshots[f"import-{len(store.snapshots) + 1}"] = "main"
            return
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
            protected=name in store.protected,
            expires=store.expires.get(name),
        )

    def mark_branch(
        self, name: str, mark: Mark, expires: datetime | None = None, *, accept_loss: bool = False
    ) -> Branch:
        with self._change(f"{mark} branch {name}"), self._mutex:
            store = self._store
            if name not in store.branches:
                raise NotFound(f'branch "{name}" does not exist', code="no_such_branch")
            match mark:
                case Mark.RECOVER if not accept_loss:
                    raise Conflict(f'branch "{name}" can go on at 0/0 only', code="not_confirmed")
                case Mark.PROTECT:
                    store.protected.add(name)
                case Mark.UNPROTECT:
                    store.protected.discard(name)
                case Mark.EXPIRE if expires is None:
                    store.expires.pop(name, None)
                case Mark.EXPIRE:
                    store.expires[name] = expires
            return self._branch(store, name)

    @staticmethod
    def _refuse_protected(store: FakeStore, name: str) -> None:
        if name in store.protected:
            raise Conflict(f'branch "{name}" is protected', code="branch_protected")

    @staticmethod
    def _has_writes(store: FakeStore, branch: str) -> bool:
        return any(one.branch == branch and one.has_writes for one in store.computes.values())

    def branch_ids(self) -> list[str]:
        return [str(branch_uuid(self._store.name, name)) for name in sorted(self._store.branches)]

    def sizes(self) -> list[BranchSize]:
        return [BranchSize(name=name, own_bytes=4096) for name in self._store.branches]

    def snapshots(self) -> list[Snapshot]:
        return [_snapshot(name, branch) for name, branch in self._store.snapshots.items()]

    def snapshot(self, name: str) -> Snapshot:
        if name not in self._store.snapshots:
            raise NotFound(f'snapshot "{name}" does not exist', code="no_such_snapshot")
        return _snapshot(name, self._store.snapshots[name])

    def create_snapshot(
        self, name: str, *, from_branch: str, moment: str | None = None
    ) -> tuple[Snapshot, bool]:
        with self._change(f"create snapshot {name}"), self._mutex:
            store, asked = self._store, (from_branch, moment)
            self._refuse_unknown(store, moment)
            if from_branch not in store.branches:
                raise NotFound(f'branch "{from_branch}" does not exist', code="no_such_branch")
            if name in store.snapshots and store.asked.get(name) != asked:
                raise Conflict(f'snapshot "{name}" exists', code="snapshot_exists")
            is_new = name not in store.snapshots
            store.snapshots[name], store.asked[name] = from_branch, asked
            return _snapshot(name, from_branch), is_new

    def delete_snapshot(self, name: str) -> None:
        with self._change(f"delete snapshot {name}"):
            if self._store.snapshots.pop(name, None) is None:
                raise NotFound(f'snapshot "{name}" does not exist', code="no_such_snapshot")

    def create_branch(
        self, name: str, *, from_branch: str | None = None, moment: str | None = None
    ) -> tuple[Branch, bool]:
        with self._change(f"create branch {name}"), self._mutex:
            store = self._store
            new = self._make_branch(store, name, from_branch, moment)
            return self._branch(store, name), new

    def _make_branch(self, store: FakeStore, name: str, from_branch: str | None, moment: str | None) -> bool:
        if name in store.branches:
            if store.branches[name][:2] != (from_branch, moment):
                raise Conflict(f'branch "{name}" starts elsewhere', code="branch_exists")
            return False
        self._refuse_unknown(store, moment)
        if from_branch not in store.branches:
            raise NotFound(f'branch "{from_branch}" does not exist', code="no_such_branch")
        if moment is None and self._has_writes(store, from_branch):
            moments = ", ".join(sorted(store.snapshots))
            raise Conflict(f'branch "{from_branch}" has writes', detail=moments, code="has_writes")
        store.branches[name] = (from_branch, moment, None)
        return True

    @staticmethod
    def _refuse_unknown(store: FakeStore, moment: str | None) -> None:
        """Every time is one, and one LSN."""
        if moment is None or moment in (*store.snapshots, "0/1000000") or moment[:4].isdigit():
            return
        if "/" in moment:
            raise NotFound(f"there is no moment {moment}", code="no_such_moment")
        raise NotFound(f'snapshot "{moment}" does not exist', code="no_such_snapshot")

    def delete_branch(self, name: str, *, now: bool = False) -> None:
        with self._change(f"delete branch {name}"):
            store = self._store
            if name not in store.branches:
                raise NotFound(f'branch "{name}" does not exist', code="no_such_branch")
            self._refuse_protected(store, name)
            if name == "main" or any(one.branch == name for one in store.computes.values()):
                raise Conflict(f'branch "{name}" is needed', code="branch_in_use")
            children = [child for child, (parent, _, _) in store.branches.items() if parent == name]
            if needing := children + [one for one, of in store.snapshots.items() if of == name]:
                raise Conflict(f'branch "{name}" is needed', detail=", ".join(needing), code="branch_needed")
            gone = store.branches.pop(name)
            store.expires.pop(name, None)
            if not now:
                store.deleted.append((name, gone))

    def deleted_branches(self) -> list[DeletedBranch]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            DeletedBranch(name=name, id=f"id-{name}", parent=parent, deleted_at=at, left_s=86400)
            for name, (parent, _, _) in reversed(self._store.deleted)
        ]

    def end_deleted(self, name: str) -> None:
        with self._change(f"end deleted {name}"):
            self._store.deleted = [one for one in self._store.deleted if one[0] != name]

    def undelete_branch(self, name: str, new_name: str | None = None) -> Branch:
        with self._change(f"undelete branch {name}"), self._mutex:
            store, wanted = self._store, new_name or name
            found = next((one for one in reversed(store.deleted) if one[0] == name), None)
            if found is None:
                raise NotFound(f'there is no deleted branch "{name}"', code="no_deleted_branch")
            if wanted in store.branches:
                raise Conflict(f'branch "{wanted}" exists', code="branch_exists")
            if found[1][0] not in store.branches:
                raise Conflict("its parent is deleted", code="parent_deleted")
            store.deleted.remove(found)
            store.branches[wanted] = found[1]
            return self._branch(store, wanted)

    def restore_branch(
        self, name: str, *, moment: str | None = None, keep: str | None = None, check: bool = False
    ) -> Restored:
        with self._change(f"restore branch {name}"), self._mutex:
            store = self._store
            self._refuse_unknown(store, moment)
            if name not in store.branches:
                raise NotFound(f'branch "{name}" does not exist', code="no_such_branch")
            self._refuse_protected(store, name)
            parent, snapshot, writer = store.branches[name]
            if moment is None and parent is None:
                raise Conflict(f'branch "{name}" has no parent', code="no_parent")
            if store.branches[name] == (keep if moment else parent, moment, None) and keep in store.branches:
                return Restored(start_lsn="0/1000000", kept=keep)
            if keep in store.branches:
                raise Conflict(f'branch "{keep}" exists', code="branch_exists")
            if check or keep is None:
                return Restored(start_lsn=None, kept=None)
            if any(self._all.engine.running(box) for box in self._boxes_of(writer)):
                raise Conflict(f'pg "{writer}" is running', code="running")
            store.branches[keep] = (parent, snapshot, None)
            store.branches[name] = (keep if moment else parent, moment, None)
            store.computes.pop(writer or "", None)
            return Restored(start_lsn="0/1000000", kept=keep)

    def branch_log(self, name: str, limit: int) -> BranchLog:
        """One commit a minute of the first day of the year."""
        branch = self._branch(self._store, name)
        hour = [
            LogMinute(
                minute=branch.created_at + timedelta(minutes=number),
                commits=1,
                catalog_changes=number % 2,
                first_lsn=str(Lsn(0x1000028 + 40 * number)),
                last_lsn=str(Lsn(0x1000028 + 40 * number)),
                wal_bytes=40,
            )
            for number in range(3)
        ]
        return BranchLog(
            start_lsn=branch.start_lsn,
            end_lsn=hour[-1].last_lsn,
            minutes=hour[-limit:],
            more=limit < len(hour),
        )

    def diff(self, before: DiffSide, after: DiffSide) -> Generator[ndjson.Event]:
        """What differs if two sides are named in different words; each is open for a step."""
        store = self._store
        for side in (before, after):
            self._refuse_unknown(store, side.moment)
            if side.branch is not None and side.branch not in store.branches:
                raise NotFound(f'branch "{side.branch}" does not exist', code="no_such_branch")
        with self._change("diff"):
            for side in (before, after):
                yield ndjson.Step(name=f"open {side.branch or side.moment}", state="done")
        first, second = (
            DiffMoment(branch=side.branch or store.snapshots[side.moment or ""], lsn="0/1000000")
            for side in (before, after)
        )
        tables = [
            TableDiff(name="public.t", kind="table", change=Change.CHANGED, pages=_PAGES, index_pages=_PAGES)
        ]
        ddl = "--- a\n+++ b\n@@ -1 +1 @@\n-one\n+two\n"
        found = [DatabaseDiff(name="postgres", change=Change.CHANGED, ddl=ddl, tables=tables)]
        diff = Diff(before=first, after=second, databases=found if before != after else [])
        yield ndjson.Result(result=diff.model_dump(mode="json"))

    def _boxes_of(self, pg: str | None) -> list[str]:
        boxes = list(self._all.engine.boxes.items())
        return [name for name, box in boxes if pg and box.spec.labels.get(label.PG) == pg]

    def prepare(
        self,
        pg: str,
        branch: str,
        *,
        from_branch: str | None = None,
        moment: str | None = None,
        durability: Durability = Durability.LOCAL,
    ) -> Prepared:
        with self._change(f"prepare {pg}"), self._mutex:
            store = self._store
            created = False
            if branch not in store.branches:
                if from_branch is None:
                    raise NotFound(f'branch "{branch}" does not exist', code="no_such_branch")
                created = self._make_branch(store, branch, from_branch, moment)
            parent, snapshot, writer = store.branches[branch]
            if writer not in (None, pg):
                raise Conflict(
                    f'branch "{branch}" has a primary: pg "{writer}"',
                    hint=f"Destroy {writer}, or make a branch of it.",
                    code="second_primary",
                )
            store.branches[branch] = (parent, snapshot, pg)
            compute = store.computes.setdefault(pg, _Compute(f"{len(store.computes):012x}", branch))
            compute.durability = durability
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

    def open(self, pg: str, generation: str, port: int, wait_s: float = 60.0, *, host: str = "") -> Opened:
        del generation
        with self._change(f"open {pg}"):
            self._store.computes[pg].host = host
            until = time.monotonic() + wait_s
            engine = self._all.engine
            while self._all.never_opens or not any(map(engine.running, self._containers_of(pg, port))):
                if time.monotonic() > until:
                    raise TimedOut(f'timed out waiting for pg "{pg}"')
                time.sleep(0.002)
            time.sleep(self._all.open_blocks_s)
            self._store.computes[pg].opened = True
            return Opened(lsn="0/1000000", ms=5)

    def _containers_of(self, pg: str, port: int) -> list[str]:
        """Those that were started with `port`: on another one they don't answer."""
        boxes = list(self._all.engine.boxes.items())
        wanted = {label.PG: pg, label.PORTS: str(port)}.items()
        return [name for name, box in boxes if wanted <= box.spec.labels.items()]

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

    def discard_cache(self, pg: str) -> None:
        with self._change(f"discard cache {pg}"), self._mutex:
            compute = self._store.computes.get(pg)
            if compute is None or compute.durability is not Durability.QUORUM:
                raise Conflict(f'the data of pg "{pg}" is the only copy', code="only_copy")
            compute.laid_out = compute.opened = False


def _snapshot(name: str, branch: str) -> Snapshot:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Snapshot(name=name, branch=branch, branch_id="x", lsn="0/1000000", created_at=made)


def _id_of(store: FakeStore) -> str:
    """What its folder says, if it has one: folders get moved."""
    if store.folder is None:
        return f"id-of-{store.name}"
    return str(json.loads((store.folder / "storage.json").read_text())["storage_id"])
