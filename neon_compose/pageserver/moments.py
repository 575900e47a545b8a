"""Which LSN of which branch a moment is, and the layers that a new branch is opened from there.

A branch's line is its own history and what came before it: what had its name before a refresh, and its
parents, each up to where the next one left it. Every moment is a point of one of them, its owner. Reads
documents and committed WAL; makes nothing.

What a point costs: the latest one no walk of its own, since `CommittedWal` gives the end of a record; an LSN
a walk from the layer below it; a time also a look at the commits since then, layer by layer from the newest.
While a branch's WAL is only in its compute, its end can't be had once it has writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from neon_compose.errors import Conflict, Invalid, NotFound, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.model.moments import Settled, Time
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster, Manifest, Point, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Found

EndOf = Callable[[tuple[UUID, ...]], Lsn]  # where a stack of layers ends
HasWrites = Callable[[Writer], bool]


class Committed(Protocol):
    """The folder has the records up to `end`, the end of one, from the redo LSN of the layers asked with."""

    @property
    def folder(self) -> WalFolder: ...
    @property
    def end(self) -> Lsn: ...


class CommittedWal(Protocol):
    """Of branches that safekeepers have WAL of, checked. Raises `Unavailable`, `Corrupt`."""

    def end(self, manifest: Manifest) -> Lsn:
        """The end of the last record there is by the commit LSN."""
        ...

    def commit_lsn(self, manifest: Manifest) -> Lsn | None:
        """Up to where it is committed, unchecked; None if too few safekeepers answer."""
        ...

    def upto(self, manifest: Manifest, end: Lsn) -> Committed:
        """Up to the last record that ends by `end`, which is committed."""
        ...


class Records(Protocol):
    """What there is in WAL that was checked."""

    def at_time(self, wal: WalFolder, start: Lsn, upto: Lsn, moment: datetime) -> Found:
        """See `walk.find_time`."""
        ...


class NoSafekeepers:
    """The `CommittedWal` of a stack that has none."""

    def end(self, manifest: Manifest) -> Lsn:
        raise _no_safekeepers(manifest)

    def commit_lsn(self, manifest: Manifest) -> Lsn | None:
        raise _no_safekeepers(manifest)

    def upto(self, manifest: Manifest, end: Lsn) -> Committed:  # noqa: ARG002
        raise _no_safekeepers(manifest)


@dataclass(frozen=True)
class Start:
    """Where a new branch begins, the layers it is opened from, and whose cluster they are."""

    point: Point
    layers: tuple[UUID, ...]
    cluster: Cluster | None


@dataclass(frozen=True)
class Stretch:
    """Committed WAL [`start`, `end`) that has the end of a layer at most at its ends."""

    folder: WalFolder
    start: Lsn
    end: Lsn


@dataclass(frozen=True)
class Own:
    """What is a branch's own and can be opened, from `begin` to `end`; its WAL comes the newest first."""

    begin: Lsn
    end: Lsn
    stretches: Iterator[Stretch]


@dataclass(frozen=True)
class _Part:
    """A branch of a line, up to where the next one left it; None: to its end."""

    manifest: Manifest
    upto: Lsn | None


@dataclass(frozen=True)
class Moments:
    store: ObjectStore
    end_of: EndOf
    has_writes: HasWrites
    wal: CommittedWal
    records: Records

    def start(self, branch: str | None, moment: Settled | None) -> Start:
        """Where a branch of `moment` of `branch` begins; by default its end.

        Raises `NotFound` code "no_branch", "no_snapshot" or "no_such_moment" (with the range there is),
        `Conflict` code "source_has_writes", and as `CommittedWal` does.
        """
        if branch is None:
            if moment is None or isinstance(moment, Lsn | Time):
                raise Invalid(
                    "a new branch needs a source", hint="Give a branch or a snapshot.", code="no_source"
                )
            return self.opened_at(_point_of(manifests.read_snapshot(self.store, moment)))
        if moment is None:
            source = manifests.read_branch(self.store, branch)
            return self._start(source, self._latest(source))
        parts = list(self._line(branch))
        match moment:
            case Lsn():
                return self._at_lsn(parts, moment)
            case Time():
                return self._at_time(parts, moment)
            case _:
                return self._at_snapshot(parts, moment)

    def opened_at(self, point: Point) -> Start:
        """The start that a known point is."""
        return self._start(manifests.read_manifest(self.store, point.branch_id), point.lsn)

    def own(self, branch: str) -> Own:
        """All moments of the branch that are no ancestor's; none but its start if safekeepers have no WAL of
        it. What a stretch needs is fetched as it is come to. Raises as `CommittedWal`."""
        manifest = manifests.read_branch(self.store, branch)
        begin = max(self._begin(manifest), self.end_of(manifest.layers[:1]))  # below that no layer is left
        end = max(self.wal.end(manifest), begin) if _has_wal(manifest) else begin
        return Own(begin, end, self._stretches(manifest, begin, end))

    def _line(self, name: str) -> Iterator[_Part]:
        *earlier, manifest = manifests.read_eras(self.store, name)
        yield _Part(manifest, None)
        for era in reversed(earlier):
            yield _Part(era, None)
        while (parent := manifest.parent) is not None:
            manifest = manifests.read_manifest(self.store, parent.branch_id)
            yield _Part(manifest, parent.lsn)

    # ---- the latest

    def _latest(self, manifest: Manifest) -> Lsn:
        return self.wal.end(manifest) if _has_wal(manifest) else self._unmoved(manifest)

    def _unmoved(self, manifest: Manifest) -> Lsn:
        """The end of a branch that safekeepers have no WAL of: it is where it started."""
        if manifest.writer is not None and self.has_writes(manifest.writer):
            raise Conflict(
                f'branch "{manifest.name}" has writes of its own',
                detail="They are in its compute only: no safekeeper has its WAL, so a branch can start at "
                "snapshots and earlier moments only.",
                hint=self._moments_hint(manifest),
                code="source_has_writes",
            )
        return manifest.parent.lsn if manifest.parent else self.end_of(manifest.layers)

    def _moments_hint(self, branch: Manifest) -> str:
        ids = {part.manifest.branch_id for part in self._line(branch.name)}
        found = [one.name for one in manifests.list_snapshots(self.store) if one.ref.branch_id in ids]
        return f"Moments that exist: {', '.join(found)}." if found else "It has no snapshots."

    # ---- an LSN

    def _at_lsn(self, parts: list[_Part], lsn: Lsn) -> Start:
        for part in parts:
            begin = self._begin(part.manifest)
            if lsn < begin:
                continue  # the branch wasn't there: it is its parent's
            if lsn == begin:
                return self._start(part.manifest, lsn)
            if lsn > (part.upto or self._committed(part.manifest)):
                break
            normal = lsn if lsn == part.upto else self._from(part.manifest, lsn, lsn).end
            return self._start(part.manifest, normal)
        raise self._no_moment(parts, f"at {lsn}")

    def _committed(self, manifest: Manifest) -> Lsn:
        """Up to where there are moments, without a look at the WAL: what is damaged in it later on is no
        reason not to open an earlier one, which may be all that is left."""
        known = self.wal.commit_lsn(manifest) if _has_wal(manifest) else None
        return known or self._latest(manifest)

    def _from(self, manifest: Manifest, lsn: Lsn, end: Lsn) -> Committed:
        """WAL up to `end` that has all from `lsn` on."""
        return self.wal.upto(replace(manifest, layers=self._layers(manifest, lsn)), end)

    # ---- a time

    def _at_time(self, parts: list[_Part], time: Time) -> Start:
        """A branch was there from when it was made on; what it is of was before that."""
        for part in parts:
            manifest = part.manifest
            if time.at >= manifest.created:
                return self._start(manifest, self._then(part, time.at))
        raise self._no_moment(parts, f"at {time}")

    def _then(self, part: _Part, time: datetime) -> Lsn:
        """Before the first commit that was made after `time`.

        The newest WAL is looked at first, and what lies below a layer only if nothing above it is as old.
        """
        begin, then = self._begin(part.manifest), part.upto or self._latest(part.manifest)
        for one in self._stretches(part.manifest, begin, then):
            found = self.records.at_time(one.folder, one.start, one.end, time)
            then = found.lsn or then
            if found.first is not None and found.first <= time:
                break
        return max(then, begin)

    def _stretches(self, manifest: Manifest, begin: Lsn, end: Lsn) -> Iterator[Stretch]:
        for base in self._bases(manifest, begin, end):
            yield Stretch(self._from(manifest, base, end).folder, base, end)
            end = base

    def _bases(self, manifest: Manifest, begin: Lsn, end: Lsn) -> list[Lsn]:
        """Where the WAL over each of the layers begins, the newest first; none without WAL."""
        ends = [self.end_of(manifest.layers[: n + 1]) for n in range(len(manifest.layers))]
        inside = {one for one in ends if begin < one < end}
        return sorted({begin, *inside}, reverse=True) if end > begin else []

    # ---- a snapshot

    def _at_snapshot(self, parts: list[_Part], name: str) -> Start:
        point = _point_of(manifests.read_snapshot(self.store, name))
        for part in parts:
            if part.manifest.branch_id == point.branch_id and point.lsn <= (part.upto or point.lsn):
                return self._start(part.manifest, point.lsn)
        branch = parts[0].manifest
        raise NotFound(
            f'snapshot "{name}" is not on the ancestry of branch "{branch.name}"',
            hint=self._moments_hint(branch),
            code="no_snapshot",
        )

    # ---- parts

    def _begin(self, manifest: Manifest) -> Lsn:
        """The first moment that is the branch's own."""
        return manifest.parent.lsn if manifest.parent else self.end_of(manifest.layers[:1])

    def _start(self, owner: Manifest, lsn: Lsn) -> Start:
        return Start(Point(owner.branch_id, lsn), self._layers(owner, lsn), owner.cluster)

    def _layers(self, owner: Manifest, lsn: Lsn) -> tuple[UUID, ...]:
        """Those that end by `lsn`: redo jobs put layers of later moments on top."""
        layers = owner.layers
        while layers and self.end_of(layers) > lsn:
            layers = layers[:-1]
        if not layers:
            raise NotFound(
                f'branch "{owner.name}" can\'t be opened at {lsn}',
                detail="All its layers are of later moments.",
                code="no_such_moment",
            )
        return layers

    def _no_moment(self, parts: list[_Part], what: str) -> NotFound:
        newest, oldest = parts[0].manifest, parts[-1].manifest
        return NotFound(
            f'branch "{newest.name}" has no moment {what}',
            detail=f"Its history goes from {self._begin(oldest)} ({Time(oldest.created)}) "
            f"to {self._latest(newest)}.",
            hint="Snapshots are listed by neon-compose snapshot list.",
            code="no_such_moment",
        )


def _has_wal(manifest: Manifest) -> bool:
    return manifest.register is not None and bool(manifest.register.decided.history.starts)


def _point_of(snapshot: manifests.Snapshot) -> Point:
    return Point(snapshot.ref.branch_id, snapshot.ref.lsn)


def _no_safekeepers(manifest: Manifest) -> Unavailable:
    return Unavailable(
        f'WAL of branch "{manifest.name}" is not here',
        detail="It is on safekeepers, and this stack has none.",
        code="no_safekeepers",
    )
