"""Restoring a branch in place: to a moment of its history, or to its parent's end.

Owns what may be lost: nothing. The old state stays as a branch, so its data directory has to be a cache, or
without writes. How it is done, and crash arguments: objectstore.restores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from neon_compose import wait
from neon_compose.errors import Bug, Conflict, NotFound
from neon_compose.model.moments import Settled
from neon_compose.model.names import kept_name, parse_name
from neon_compose.model.protection import protected
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Writer
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.computes import Computes
from neon_compose.pageserver.generations import Generations
from neon_compose.pageserver.locks import NamedLocks
from neon_compose.pageserver.moments import Moments, Start
from neon_compose.wire import pageserver as wire


@dataclass(frozen=True)
class Restored:
    """The branch that has the name now, and the one that had it."""

    branch: Manifest
    before: Manifest


@dataclass(frozen=True)
class Restoring:
    store: LocalStore
    branches: Branches
    moments: Moments
    computes: Computes
    generations: Generations
    _locks: NamedLocks = field(default_factory=NamedLocks)

    def check(self, name: str, moment: Settled | None, keep: str | None = None) -> None:
        """Raise what `restore` would raise, as far as can be said before; a server may run on its data."""
        manifest = self.branches.find(name)
        if manifest.protected:
            raise protected(name)
        self._start(manifest, moment)
        self._refuse_loss(manifest)
        if keep is not None and self._done(manifest, moment, keep) is None:
            manifests.refuse_taken(self.store, keep)

    def restore(self, name: str, moment: Settled | None, keep: str | None = None) -> Restored:
        """`name` is a new branch from `moment` of its history, or without one from its parent's end, and what
        it was is a branch `keep`. Repeat with the same `keep` is success.

        Raises `Conflict` code "running", "only_copy", "no_parent", "branch_exists", "branch_protected", and
        as `Moments.start`.
        """
        keep = keep or kept_name(name, wait.now())
        with self._locks.hold(name), self._no_refresh(name):
            self.settle(name)
            before = self.branches.find(name)
            if (done := self._done(before, moment, keep)) is not None:
                return done
            writer = before.writer
            with self.computes.stopped(writer.pg) if writer else nullcontext():
                before = self.branches.find(name)  # its pg may have been destroyed meanwhile
                self._refuse_loss(before)
                start = self._start(before, moment)
                made = manifests.restore_branch(
                    self.store, name, start.point, start.layers, start.cluster, keep, self._discard
                )
        return Restored(made, manifests.read_manifest(self.store, before.branch_id))

    def answer(self, name: str, moment: Settled | None, request: wire.RestoreRequest) -> wire.Restored:
        """`check`, or `restore`."""
        keep = parse_name(request.keep, "branch") if request.keep is not None else None
        if request.check:
            self.check(name, moment, keep)
            return wire.Restored(start_lsn=None, kept=None)
        done = self.restore(name, moment, keep)
        start = done.branch.parent
        return wire.Restored(start_lsn=str(start.lsn) if start else None, kept=done.before.name)

    def mark(self, name: str, request: wire.MarkRequest) -> Manifest:
        """Of a name that isn't restored meanwhile. Raises `NotFound`, `Conflict` code "main_branch"."""
        with self._locks.hold(name):
            self.settle(name)
            match request.mark:
                case wire.Mark.PROTECT:
                    return manifests.protect_branch(self.store, name)
                case wire.Mark.UNPROTECT:
                    return manifests.unprotect_branch(self.store, name)
                case wire.Mark.EXPIRE:
                    return manifests.expire_branch(self.store, name, request.expires)
                case _:
                    raise Bug(f"{request.mark} is no mark of a manifest")

    def settle(self, name: str) -> None:
        """Finish or undo a restore of `name` that was cut off."""
        manifests.settle_restore(self.store, name, self._discard)

    def settle_all(self) -> None:
        """As `settle`, of all. Only before this process serves."""
        manifests.settle_restores(self.store, self._discard)

    def _done(self, manifest: Manifest, moment: Settled | None, keep: str) -> Restored | None:
        """What an earlier call made with the same words, if no pg has come to it since."""
        try:
            kept = self.branches.find(keep)
        except NotFound:
            return None
        if manifest.replaces != kept.branch_id or manifest.writer is not None or manifest.parent is None:
            return None
        if moment is not None and self.moments.start(manifest.name, moment).point.lsn != manifest.parent.lsn:
            return None
        return Restored(manifest, kept)

    def _start(self, manifest: Manifest, moment: Settled | None) -> Start:
        if moment is not None:
            return self.moments.start(manifest.name, moment)
        parent = manifests.origin_of(self.store, manifest)
        if parent is None:
            raise Conflict(
                f'branch "{manifest.name}" has no parent to go back to',
                hint=f"Say which moment: neon-compose branch restore {manifest.name} --to MOMENT",
                code="no_parent",
            )
        return self.moments.start(parent.name, None)

    def _refuse_loss(self, manifest: Manifest) -> None:
        writer = manifest.writer
        if writer is None or manifest.durable or not self.computes.writer_has_writes(writer):
            return
        raise Conflict(
            f'branch "{manifest.name}" has writes that are in its data directory only',
            detail=f'Pg "{writer.pg}" ran under durability local, so its state could not be kept.',
            hint="Run it under durability quorum first: then safekeepers have its writes too.",
            code="only_copy",
        )

    def _discard(self, writer: Writer) -> None:
        """Durable on return: once no manifest names it, nobody would know that it was a cache."""
        self.generations.discard_for_good(writer.pg, writer.generation)

    @contextmanager
    def _no_refresh(self, name: str) -> Iterator[None]:
        """A refresh changes what `main` is too. Raises `Conflict` code "busy"."""
        with self.store.creating() if name == manifests.MAIN else nullcontext():
            yield
