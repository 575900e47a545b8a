"""Branches and snapshots of the storage: where a new one may start, and how they are shown.

Owns the rules; the documents and their order are objectstore.manifests'. While WAL stays in the compute,
a branch with writes has no end that another could start from: only snapshots on its ancestry do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from neon_compose.errors import Conflict, Invalid, NotFound
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster, Manifest, Point, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.wire import pageserver as wire

EndOf = Callable[[tuple[UUID, ...]], Lsn]  # where a stack of layers ends
HasWrites = Callable[[Writer], bool]


@dataclass(frozen=True)
class Start:
    """Where a new branch begins, the layers it is opened from, and whose cluster they are."""

    point: Point
    layers: tuple[UUID, ...]
    cluster: Cluster | None

    @classmethod
    def of(cls, source: Manifest, lsn: Lsn) -> Start:
        return cls(Point(source.branch_id, lsn), source.layers, source.cluster)


class Branches:
    def __init__(self, store: ObjectStore, end_of: EndOf, has_writes: HasWrites) -> None:
        self._store = store
        self._end_of = end_of
        self._has_writes = has_writes

    def find(self, name: str) -> Manifest:
        return manifests.read_branch(self._store, name)

    def create(
        self, name: str, from_branch: str | None, from_snapshot: str | None, writer: Writer | None = None
    ) -> tuple[Manifest, bool]:
        """Make the branch; (it, whether it is new). Repeat is success, also when the source has got writes
        since. Raises `Conflict` for another source, or a source with writes."""
        start = self._start(from_branch, from_snapshot)
        if from_snapshot is None and from_branch is not None and not self._is_there(name):
            self._refuse_writes(self.find(from_branch))
        return manifests.create_branch(self._store, name, start.point, start.layers, writer, start.cluster)

    def delete(self, name: str) -> None:
        manifests.delete_branch(self._store, name)

    def show(self, manifest: Manifest) -> wire.Branch:
        by_id = _names(manifests.list_eras(self._store))
        return self._show(manifest, by_id, manifests.list_snapshots(self._store))

    def show_all(self) -> list[wire.Branch]:
        found = manifests.list_eras(self._store)
        by_id = _names(found)
        snapshots = manifests.list_snapshots(self._store)
        return [self._show(eras[-1], by_id, snapshots) for eras in found]

    def show_snapshots(self) -> list[wire.Snapshot]:
        by_id = _names(manifests.list_eras(self._store))
        return [
            wire.Snapshot(
                name=one.name,
                branch=by_id.get(one.ref.branch_id),
                branch_id=str(one.ref.branch_id),
                lsn=str(one.ref.lsn),
                created_at=one.ref.time,
            )
            for one in manifests.list_snapshots(self._store)
        ]

    def _show(
        self, manifest: Manifest, by_id: dict[UUID, str], snapshots: list[manifests.Snapshot]
    ) -> wire.Branch:
        parent = manifest.parent
        at = next((s.name for s in snapshots if parent == Point(s.ref.branch_id, s.ref.lsn)), None)
        return wire.Branch(
            name=manifest.name,
            id=str(manifest.branch_id),
            parent=by_id.get(parent.branch_id, str(parent.branch_id)) if parent else None,
            snapshot=at,
            start_lsn=str(parent.lsn if parent else self._end_of(manifest.layers)),
            writer=manifest.writer.pg if manifest.writer else None,
            has_writes=manifest.writer is not None and self._has_writes(manifest.writer),
            created_at=manifest.created,
        )

    def _start(self, from_branch: str | None, from_snapshot: str | None) -> Start:
        if from_snapshot is not None:
            return self._at_snapshot(from_snapshot, from_branch)
        if from_branch is None:
            raise Invalid(
                "a new branch needs a source", hint="Give a branch or a snapshot.", code="no_source"
            )
        source = self.find(from_branch)
        return Start.of(source, self._end_of(source.layers))

    def _at_snapshot(self, name: str, from_branch: str | None) -> Start:
        snapshot = manifests.read_snapshot(self._store, name)
        owner = snapshot.ref.branch_id
        if from_branch is not None and all(one.branch_id != owner for one in self._ancestry(from_branch)):
            raise NotFound(
                f'snapshot "{name}" is not on the ancestry of branch "{from_branch}"',
                hint=self._moments_hint(self.find(from_branch)),
                code="no_snapshot",
            )
        return Start.of(manifests.read_manifest(self._store, owner), snapshot.ref.lsn)

    def _ancestry(self, name: str) -> Iterator[Manifest]:
        """The branch, what had its name before, and its parents, up to the first that has none."""
        *earlier, manifest = manifests.read_eras(self._store, name)
        yield manifest
        yield from reversed(earlier)
        while manifest.parent is not None:
            manifest = manifests.read_manifest(self._store, manifest.parent.branch_id)
            yield manifest

    def _is_there(self, name: str) -> bool:
        try:
            self.find(name)
        except NotFound:
            return False
        return True

    def _refuse_writes(self, source: Manifest) -> None:
        if source.writer is None or not self._has_writes(source.writer):
            return
        raise Conflict(
            f'branch "{source.name}" has writes of its own',
            detail="They are in its compute only: WAL is not kept apart from a compute yet, so a branch "
            "can start at snapshots only.",
            hint=self._moments_hint(source),
            code="source_has_writes",
        )

    def _moments_hint(self, branch: Manifest) -> str:
        ids = {one.branch_id for one in self._ancestry(branch.name)}
        found = [one.name for one in manifests.list_snapshots(self._store) if one.ref.branch_id in ids]
        return f"Moments that exist: {', '.join(found)}." if found else "It has no snapshots."


def _names(found: list[tuple[Manifest, ...]]) -> dict[UUID, str]:
    """By branch id, also of those that a refresh took the name from."""
    return {one.branch_id: one.name for eras in found for one in eras}
