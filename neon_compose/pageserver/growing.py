"""A branch gets one more layer: made by replaying WAL, or by folding its stack; then its manifest names it.

Owns the order: a note of the layer's id, the layer's files, the map of the new tip, the manifest by
compare-and-swap, the note goes. Whoever lays out finds the map ready. Computes that run keep the layers and
the map they were laid out on (compute.record).

Crash argument: before the compare-and-swap nothing that a reader finds names the new layer, and the branch
has its old tip. What was being made is known by its note, never guessed from "no manifest names it", which
also holds for what another pageserver over the same folder makes at this moment. `sweep` removes what
notes name and no manifest does: an id is used once, and its only user is dead, so none ever will.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from neon_compose import durable, log, wait
from neon_compose.compute.layout import Tip, Tips
from neon_compose.errors import Conflict, NeonError, NotFound
from neon_compose.layer.branchmap import read_map
from neon_compose.layer.fold import fold
from neon_compose.layer.history import stack_of
from neon_compose.layer.pack import LayerFiles
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import cas
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.stacks import append_layer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.ages import Ages
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.walfolder import WalFolder

_log = log.get(__name__)

Watch = Callable[[], None]  # raises to end a job
Replay = Callable[[Tip, Cut, Lsn, UUID, Watch], LayerFiles | None]  # Redo.run


class Committed(Protocol):
    """WAL of a branch, each segment under its complete name, walked from the redo LSN of its newest layer up
    to `end`, a whole record's; where the last record and the last checkpoint's begin, if there is one."""

    @property
    def folder(self) -> WalFolder: ...
    @property
    def end(self) -> Lsn: ...
    @property
    def last_record(self) -> Lsn | None: ...
    @property
    def last_checkpoint(self) -> Lsn | None: ...


@dataclass(frozen=True)
class Grown:
    """A layer that a branch got."""

    layer: UUID
    end: Lsn
    wal_bytes: int  # replayed for it
    seconds: float


@dataclass(frozen=True)
class Growth:
    store: ObjectStore
    tips: Tips
    ages: Ages
    maps: Path
    notes: Path
    replay: Replay

    def advance(self, manifest: Manifest, wal: Committed, watch: Watch) -> Grown | None:
        """A delta layer of the committed WAL after the branch's newest layer; None if that would be none:
        without a newer checkpoint nothing is gained, and nothing is replayed.

        Raises `Corrupt` for damaged WAL, `Conflict` code "layers_changed", `NotFound` if the branch was
        deleted meanwhile, and what `watch` raises. The branch is as it was then.
        """
        began_s = wait.monotonic_s()
        tip = self.tips.get(manifest.layers)
        record, checkpoint = wal.last_record, wal.last_checkpoint
        if wal.end <= tip.end or record is None or checkpoint is None:
            return None
        if checkpoint <= tip.control.checkpoint:  # the one that the newest layer begins with
            return None
        cut = Cut(wal.folder.path, wal.end)
        with self._noted() as layer:
            if self.replay(tip, cut, record, layer, watch) is None:
                return None
            self._name(manifest, layer)
        replayed = wal.end.value - tip.control.redo.value
        return Grown(layer, wal.end, replayed, wait.monotonic_s() - began_s)

    def fold(self, manifest: Manifest, watch: Watch) -> Grown:
        """An image layer that says what the branch's newest layer and those under it say. Raises as
        `advance`."""
        began_s = wait.monotonic_s()
        tip = self.tips.get(manifest.layers)
        folder = self.store.local_path("layers")
        with self._noted() as layer:
            fold(read_map(self.maps / f"{tip.tip}.map"), folder, layer, watch)
            self._name(manifest, layer)
        return Grown(layer, tip.end, 0, wait.monotonic_s() - began_s)

    def end(self, manifest: Manifest) -> Lsn:
        """The earliest moment that the branch's newest layer opens."""
        return self.ages.end(manifest.layers)

    def depth(self, manifest: Manifest) -> int:
        """How many layers a branch laid out now would be over."""
        return len(stack_of(self.ages.of(manifest.layers)))

    def making(self) -> list[UUID]:
        """Layers that are being made, or were when a pageserver died."""
        return [UUID(note.name) for note in sorted(self.notes.iterdir()) if not note.name.startswith(".")]

    def sweep(self) -> None:
        """Remove what a dead pageserver was making. Only called before anything is made."""
        durable.sweep(self.notes)
        for layer in self.making():
            self._settle(layer)

    @contextmanager
    def _noted(self) -> Iterator[UUID]:
        """A new layer's id. At the end the layer is named by the manifest, or gone; else the note stays."""
        layer = new_id()
        durable.write_file(self.notes / str(layer), b"")
        try:
            yield layer
        except _MayBeNamed as error:
            raise error.cause from error
        except BaseException:
            self._settle(layer)
            raise
        (self.notes / str(layer)).unlink()

    def _name(self, manifest: Manifest, layer: UUID) -> None:
        self.tips.get((*manifest.layers, layer))  # makes its map
        try:
            append_layer(self.store, manifest.branch_id, manifest.layers, layer)
        except (Conflict, NotFound):
            raise
        except (NeonError, OSError) as error:  # the store didn't answer: it may come to be named yet
            raise _MayBeNamed(error) from error

    def _settle(self, layer: UUID) -> None:
        """Remove a layer that isn't named and won't be; if that fails its note stays for the next start."""
        try:
            self._remove(layer)
        except (NeonError, OSError) as error:
            _log.error("could not remove the unfinished layer %s: %s", layer, error)

    def _remove(self, layer: UUID) -> None:
        if not self._is_named(layer):
            # The index first: a layer that has one is whole.
            for suffix in ("index", "meta.tar.zst", "pages"):
                self.store.delete(f"layers/{layer}.{suffix}")
            (self.maps / f"{layer}.map").unlink(missing_ok=True)
        (self.notes / str(layer)).unlink(missing_ok=True)

    def _is_named(self, layer: UUID) -> bool:
        found = (cas.find(self.store, key, Manifest) for key in self.store.list("branches/"))
        return any(layer in manifest.layers for manifest in found if manifest is not None)


class _MayBeNamed(Exception):
    def __init__(self, cause: NeonError | OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause
