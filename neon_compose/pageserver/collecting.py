"""Layers that no moment needs any more: out of their branch's manifest first, their files much later.

Kept of a branch: what opens its first moment, its newest layer, each pinned moment (snapshots, children), and
every moment in the window of history.

Why nothing is taken from under a reader:
- What this pageserver's computes are laid out on is in their records; those layers' files stay.
- A branch whose writer isn't ours, or that has a lease, is left alone as a whole: whose records we can't see.
- Whoever read a manifest before a layer was taken out may still act on it: lay out over it, make a child that
  names it. So its files go only after a pause, counted while this process ran (a machine that sleeps stops
  them all), and only if by then no manifest names it.
- If anything can't be read, a manifest or a record, nothing is removed.

Crash argument: a note of each layer is durable before any manifest lets it go. A note says "look at this
one", no more: a layer that is named again, or still, loses its note. Files go in the order index, the rest,
note; each step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from neon_compose import durable, log, wait
from neon_compose.layer.history import Aged, needed
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import cas, manifests
from neon_compose.objectstore.documents import Manifest, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.generations import Generations
from neon_compose.pageserver.unneeded import UnneededWal

_log = log.get(__name__)

_PAUSE_S = 3600.0
_EVERY_S = 600.0


@dataclass(frozen=True)
class Window:
    """How much of the past every branch can be opened at: not longer ago than `age`, nor further back than
    `wal_bytes`."""

    age: timedelta = timedelta(days=7)
    wal_bytes: int = 10 << 30


def window_start(history: Sequence[Aged], now: datetime, window: Window) -> Lsn:
    """From where on each moment is to be kept. A layer's id says when it was made, and what it opens is
    older; so the newest one that is older than the window opens the window's first moment."""
    by_size = Lsn(max(0, history[-1].consistent.value - window.wal_bytes))
    old = [one.consistent for one in history if made_at(one.layer) <= now - window.age]
    return max((by_size, *old))


def made_at(layer: UUID) -> datetime:
    return datetime.fromtimestamp((layer.int >> 80) / 1000, UTC)


def kept(manifest: Manifest, history: Sequence[Aged], now: datetime, window: Window) -> set[UUID]:
    """The layers of a branch that a moment needs. Its first moment is always one: its own WAL begins there,
    and a safekeeper that is new to it gets the beginning of that segment from these layers."""
    if not history:
        return set()
    first = manifest.parent.lsn if manifest.parent else history[0].consistent
    moments = (first, *(one.lsn for one in manifest.pins))
    return needed(history, moments, window_start(history, now, window))


def layers_in_use(generations: Generations) -> set[UUID] | None:
    """What computes here are, or will be, laid out on; None if that isn't known of all."""
    found: set[UUID] = set()
    for pg in generations.pgs():
        for one in generations.of(pg):
            if one.record is not None:
                if not one.record.layers:  # from before they were noted
                    return None
                found |= set(map(UUID, one.record.layers))
    return found


class Collector:
    """Used by one thread, while no redo job runs."""

    def __init__(
        self,
        store: ObjectStore,
        ages: Ages,
        in_use: Callable[[], set[UUID] | None],
        is_ours: Callable[[Writer], bool],
        notes: Path,
        maps: Path,
        window: Window | None = None,
        wal: UnneededWal | None = None,
        pause_s: float = _PAUSE_S,
    ) -> None:
        self._store = store
        self._ages = ages
        self._in_use = in_use
        self._is_ours = is_ours
        self._notes = notes
        self._maps = maps
        self._window = window or Window()
        self._wal = wal
        self._pause_s = pause_s
        self._since: dict[UUID, float] = {}  # when this process first saw a note
        self._next_s = 0.0

    def collect(self) -> None:
        """Trim every branch and remove what is due, now and then. Raises what reading raises; then nothing
        was removed."""
        now_s = wait.monotonic_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _EVERY_S
        for manifest in self._manifests():
            self._trim(manifest)
        self._remove_due()
        if self._wal is not None:
            self._look_at_wal(self._wal)

    def history_start(self, manifest: Manifest) -> Lsn:
        """From where on every moment of the branch stays open."""
        history = self._ages.of(manifest.layers)
        first = manifest.parent.lsn if manifest.parent else history[0].consistent
        return max(first, window_start(history, wait.now(), self._window))

    def suspect(self, layers: Iterable[UUID]) -> None:
        """Look at these later: something that named them is about to go."""
        named: dict[UUID, int] = {}
        for manifest in self._manifests():
            for layer in manifest.layers:
                named[layer] = named.get(layer, 0) + 1
        for layer in layers:
            if named.get(layer, 0) < 2:
                self._note(layer)

    def waiting(self) -> list[UUID]:
        """Layers that are to go, unless something names them."""
        return [UUID(note.name) for note in sorted(self._notes.iterdir()) if not note.name.startswith(".")]

    def _trim(self, manifest: Manifest) -> None:
        unneeded = self._unneeded(manifest)
        if not unneeded:
            return
        for layer in unneeded:
            self._note(layer)

        def cut(found: Manifest) -> Manifest:
            gone = self._unneeded(found) & unneeded
            return replace(found, layers=tuple(one for one in found.layers if one not in gone))

        manifests.update_manifest(self._store, manifest.branch_id, cut)
        _log.info("branch %s needs %d layers less", manifest.name, len(unneeded))

    def _look_at_wal(self, wal: UnneededWal) -> None:
        wal.drop_gone(lambda: (one.branch_id for one in self._manifests()))
        now = wait.now()
        for manifest in self._manifests():
            if not self._is_left_alone(manifest, now):
                wal.look(
                    manifest,
                    self._ages.of(manifest.layers),
                    lambda history: window_start(history, now, self._window),
                )

    def _unneeded(self, manifest: Manifest) -> set[UUID]:
        now = wait.now()
        if self._is_left_alone(manifest, now):
            return set()
        history = self._ages.of(manifest.layers)
        return set(manifest.layers) - kept(manifest, history, now, self._window)

    def _is_left_alone(self, manifest: Manifest, now: datetime) -> bool:
        if manifest.deleted or any(one.expires > now for one in manifest.leases):
            return True
        return manifest.writer is not None and not self._is_ours(manifest.writer)

    def _remove_due(self) -> None:
        noted = self.waiting()
        now_s = wait.monotonic_s()
        self._since = {layer: self._since.get(layer, now_s) for layer in noted}
        due = {layer for layer, since_s in self._since.items() if now_s - since_s >= self._pause_s}
        in_use = self._in_use() if due else None
        if in_use is None:
            return
        named = {layer for manifest in self._manifests() for layer in manifest.layers}
        for layer in sorted(due - in_use):
            if layer not in named:
                self._remove(layer)
            (self._notes / str(layer)).unlink()

    def _remove(self, layer: UUID) -> None:
        for suffix in ("index", "meta.tar.zst", "pages"):
            self._store.delete(f"layers/{layer}.{suffix}")
        (self._maps / f"{layer}.map").unlink(missing_ok=True)
        _log.info("layer %s is removed: nothing needs it", layer)

    def _note(self, layer: UUID) -> None:
        path = self._notes / str(layer)
        if not path.exists():
            durable.write_file(path, b"")

    def _manifests(self) -> list[Manifest]:
        """All there are, also those being deleted."""
        found = (cas.find(self._store, key, Manifest) for key in self._store.list("branches/"))
        return [one for one in found if one is not None]
