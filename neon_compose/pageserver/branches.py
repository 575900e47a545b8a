"""Branches and snapshots of the storage: making them at a moment, and how they are shown.

Owns what a repeat is: the same words about the same branch mean the point they meant the first time, however
far that branch has gone since. Which point that is, moments says; the documents and their order are
objectstore.manifests'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from neon_compose.errors import Conflict, NeonError
from neon_compose.model.moments import Settled
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Point, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.moments import Moments, Start
from neon_compose.pageserver.redoing import Standing
from neon_compose.wire import pageserver as wire

T = TypeVar("T")
Redo = Callable[[Manifest], Standing]  # how far a branch's layers are behind
_TRIES = 2  # of makers with the same words at the same time one comes first, and says where it is


class Branches:
    def __init__(self, store: ObjectStore, moments: Moments) -> None:
        self._store = store
        self._moments = moments

    def find(self, name: str) -> Manifest:
        return manifests.read_branch(self._store, name)

    def create(
        self, name: str, from_branch: str | None, moment: Settled | None, writer: Writer | None = None
    ) -> tuple[Manifest, bool]:
        """Make the branch; (it, whether it is new). Repeat is success, also when the source has gone on
        since. Raises `Conflict` for another source, and as `Moments.start`."""
        asked = self._words(from_branch, moment)

        def make(start: Start) -> tuple[Manifest, bool]:
            return manifests.create_branch(
                self._store, name, start.point, start.layers, writer, start.cluster, asked
            )

        return self._once(
            lambda: manifests.branch_start(self._store, name, asked),
            from_branch,
            moment,
            make,
            "branch_exists",
        )

    def create_snapshot(
        self, name: str, from_branch: str, moment: Settled | None
    ) -> tuple[manifests.Snapshot, bool]:
        """Make the snapshot; as `create`."""
        asked = self._words(from_branch, moment)
        return self._once(
            lambda: manifests.snapshot_point(self._store, name, asked),
            from_branch,
            moment,
            lambda start: manifests.create_snapshot(self._store, name, start.point, asked),
            "snapshot_exists",
        )

    def _once(
        self,
        known: Callable[[], Point | None],
        from_branch: str | None,
        moment: Settled | None,
        make: Callable[[Start], T],
        taken: str,
    ) -> T:
        for tries_left in reversed(range(_TRIES)):
            point = known()
            start = self._moments.opened_at(point) if point else self._moments.start(from_branch, moment)
            try:
                return make(start)
            except Conflict as conflict:
                if conflict.code != taken or not tries_left or known() is None:
                    raise
        raise AssertionError("the last try returns or raises")

    def _words(self, from_branch: str | None, moment: Settled | None) -> str:
        """A branch by its id: after a refresh `main` is another."""
        source = self.find(from_branch).branch_id if from_branch is not None else ""
        return f"{source}@{moment}" if moment is not None else str(source)

    # ---- shown

    def show(self, manifest: Manifest) -> wire.Branch:
        by_id = _names(manifests.list_eras(self._store))
        return self._show(manifest, by_id, manifests.list_snapshots(self._store))

    def show_all(self, redo: Redo = lambda _: Standing()) -> list[wire.Branch]:
        found = manifests.list_eras(self._store)
        by_id = _names(found)
        snapshots = manifests.list_snapshots(self._store)
        return [
            self._show(eras[-1], by_id, snapshots).model_copy(update=_redo(redo(eras[-1]))) for eras in found
        ]

    def show_snapshot(self, name: str) -> wire.Snapshot:
        by_id = _names(manifests.list_eras(self._store))
        return _snapshot_shown(manifests.read_snapshot(self._store, name), by_id)

    def show_snapshots(self) -> list[wire.Snapshot]:
        by_id = _names(manifests.list_eras(self._store))
        return [_snapshot_shown(one, by_id) for one in manifests.list_snapshots(self._store)]

    def _show(
        self, manifest: Manifest, by_id: dict[UUID, str], snapshots: list[manifests.Snapshot]
    ) -> wire.Branch:
        parent, moments = manifest.parent, self._moments
        at = next((s.name for s in snapshots if parent == Point(s.ref.branch_id, s.ref.lsn)), None)
        return wire.Branch(
            name=manifest.name,
            id=str(manifest.branch_id),
            parent=by_id.get(parent.branch_id, str(parent.branch_id)) if parent else None,
            snapshot=at,
            start_lsn=str(parent.lsn if parent else moments.end_of(manifest.layers[:1])),
            writer=manifest.writer.pg if manifest.writer else None,
            has_writes=manifest.writer is not None and moments.has_writes(manifest.writer),
            created_at=manifest.created,
            protected=manifest.protected,
            expires=manifest.expires,
            tip_lsn=self._tip_lsn(manifest),
        )

    def _tip_lsn(self, manifest: Manifest) -> str | None:
        """None if the layer can't be read: one branch's damage hides no other."""
        try:
            return str(self._moments.end_of(manifest.layers))
        except (NeonError, OSError):
            return None


def _snapshot_shown(one: manifests.Snapshot, by_id: dict[UUID, str]) -> wire.Snapshot:
    return wire.Snapshot(
        name=one.name,
        branch=by_id.get(one.ref.branch_id),
        branch_id=str(one.ref.branch_id),
        lsn=str(one.ref.lsn),
        created_at=one.ref.time,
    )


def _redo(standing: Standing) -> dict[str, object]:
    said = "running" if standing.running else standing.error or None
    return {"redo_lag_bytes": standing.lag_bytes, "redo": said, "redo_rate": standing.rate}


def _names(found: list[tuple[Manifest, ...]]) -> dict[UUID, str]:
    """By branch id, also of those that a refresh took the name from."""
    return {one.branch_id: one.name for eras in found for one in eras}
