"""Binding a pg to its branch: the manifest's writer, the folder it names, and whether to trust that.

Steps and crash arguments are in generations.py. Called under the pg's lock; two pgs that want one branch
meet in the manifest's compare-and-swap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from neon_compose.compute import marker
from neon_compose.compute import record as records
from neon_compose.compute.marker import Trust
from neon_compose.compute.paths import new_generation
from neon_compose.compute.record import Record, Stage
from neon_compose.compute.writes import WriteScan
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.moments import Settled
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.generations import (
    Generation,
    Generations,
    doubtful,
    lost,
    may_have_writes,
    unclaimed,
)


@dataclass(frozen=True)
class Claimed:
    """A pg that is the writer of its branch and has a folder."""

    manifest: Manifest
    created_branch: bool
    generation: Generation
    record: Record


@dataclass(frozen=True)
class Claims:
    store: ObjectStore
    generations: Generations
    branches: Branches
    scan: WriteScan
    boot: str

    def claim(self, pg: str, branch: str, from_branch: str | None, moment: Settled | None) -> Claimed:
        """Make the branch if it is to start from somewhere, make `pg` its writer, and have a folder for it.

        Repeat is success. Raises `Conflict` code "writer" if another pg has the branch, "other_branch" if
        this pg has another one, "doubtful", "data_lost" or "unclaimed" when its data can't be trusted.
        """
        there = self._there(pg)
        self._refuse_other_branch(pg, branch, there)
        writer = Writer(pg, there[-1].id if there else new_generation())
        with self._folder(writer):
            manifest, created = self._branch(branch, from_branch, moment, writer)
            generation = self._bind(manifest, writer)
        return Claimed(manifest, created, generation, self._trusted(generation, manifest))

    def _there(self, pg: str) -> list[Generation]:
        """What is on disk of a pg; without what can't be read, if that is a cache."""
        found = []
        for name in self.generations.ids(pg):
            try:
                found.append(self.generations.read(pg, name))
            except Conflict:
                if not any(one.writer == Writer(pg, name) and one.durable for one in self.held_by(pg)):
                    raise
                self.generations.discard(pg, name)
        return found

    def held_by(self, pg: str) -> list[Manifest]:
        """The branches whose writer is `pg`: one, or none."""
        return [one for one in manifests.list_branches(self.store) if _is_writer(one, pg)]

    def release(self, pg: str) -> None:
        """Free the branches of `pg`."""
        for manifest in self.held_by(pg):
            manifests.update_manifest(
                self.store,
                manifest.branch_id,
                lambda found: replace(found, writer=None) if _is_writer(found, pg) else found,
            )

    @contextmanager
    def _folder(self, writer: Writer) -> Iterator[None]:
        """The folder comes before any manifest that names it, and goes if none came to name it."""
        if self.generations.has(writer.pg, writer.generation):
            yield
            return
        self.generations.make(writer.pg, writer.generation)
        try:
            yield
        except BaseException:
            # The manifest may be there although its write failed: it is renamed first, then synced.
            if not any(one.writer == writer for one in manifests.list_branches(self.store)):
                self.generations.discard(writer.pg, writer.generation)
            raise

    def _branch(
        self, name: str, from_branch: str | None, moment: Settled | None, writer: Writer
    ) -> tuple[Manifest, bool]:
        if from_branch is None and moment is None:
            return self.branches.find(name), False
        return self.branches.create(name, from_branch, moment, writer)

    def _bind(self, manifest: Manifest, writer: Writer) -> Generation:
        if manifest.writer is None:
            manifests.update_manifest(self.store, manifest.branch_id, _claim(writer))
            return self.generations.read(writer.pg, writer.generation)
        _refuse_other_writer(manifest, writer.pg)
        if not self.generations.has(writer.pg, manifest.writer.generation):
            if not manifest.durable:
                raise lost(writer.pg)
            manifests.update_manifest(self.store, manifest.branch_id, _replaced(manifest.writer, writer))
            return self.generations.read(writer.pg, writer.generation)
        return self.generations.read(writer.pg, manifest.writer.generation)

    def _refuse_other_branch(self, pg: str, branch: str, there: list[Generation]) -> None:
        """Data that a manifest names must be of the branch asked for; data that none names is removed if
        no client ever wrote to it."""
        for old in list(there):
            owner = self._owner(old)
            if owner is None and old.record is not None:
                if may_have_writes(self.scan, old):
                    raise unclaimed(pg)
                self.generations.discard(pg, old.id)
                there.remove(old)
            elif owner is not None and owner.name != branch:
                raise Conflict(
                    f'pg "{pg}" is bound to branch "{owner.name}"',
                    hint="A pg keeps its branch: take another name, or destroy it first.",
                    code="other_branch",
                )

    def _owner(self, generation: Generation) -> Manifest | None:
        """The branch whose writer this generation is."""
        if generation.record is None:
            return None
        try:
            manifest = manifests.read_manifest(self.store, UUID(generation.record.branch_id))
        except NotFound:
            return None
        named = manifest.writer == Writer(generation.pg, generation.id) and not manifest.deleted
        return manifest if named else None

    def _trusted(self, generation: Generation, manifest: Manifest) -> Record:
        """The generation's record; back at PREPARED if its files are doubtful, and no client was let in or
        safekeepers have what clients wrote."""
        record = generation.record
        if record is None:
            record = Record(
                generation.pg,
                generation.id,
                str(manifest.branch_id),
                str(manifest.tip),
                layers=tuple(map(str, manifest.layers)),
            )
            records.write(generation.paths.record, record)
        if record.stage < Stage.LAID_OUT:
            return record
        if marker.trust(generation.paths.marker, record.boot_id, self.boot) is Trust.DOUBTFUL:
            if may_have_writes(self.scan, generation) and not manifest.durable:
                raise doubtful(generation.pg)
            record = replace(record, stage=Stage.PREPARED)
            records.write(generation.paths.record, record)
        return record


def _claim(writer: Writer) -> Callable[[Manifest], Manifest]:
    def change(manifest: Manifest) -> Manifest:
        _refuse_other_writer(manifest, writer.pg)
        if manifest.successor is not None:  # between our reading the name and this
            raise Conflict(
                f'branch "{manifest.name}" was refreshed meanwhile', hint="Repeat.", code="branch_refreshed"
            )
        return replace(manifest, writer=writer)

    return change


def _replaced(before: Writer, after: Writer) -> Callable[[Manifest], Manifest]:
    """Another generation of the same pg."""

    def change(manifest: Manifest) -> Manifest:
        _refuse_other_writer(manifest, after.pg)
        return replace(manifest, writer=after) if manifest.writer == before else manifest

    return change


def _is_writer(manifest: Manifest, pg: str) -> bool:
    return manifest.writer is not None and manifest.writer.pg == pg


def _refuse_other_writer(manifest: Manifest, pg: str) -> None:
    if manifest.writer is not None and manifest.writer.pg != pg:
        other = manifest.writer.pg
        raise Conflict(
            f'branch "{manifest.name}" has the primary "{other}"',
            detail="A branch has one primary, also while that is stopped.",
            hint=f"Make a branch of your own: neon-compose branch create {pg} --from SNAPSHOT; "
            f"or give the other up: neon-compose pg destroy {other}",
            code="writer",
        )
