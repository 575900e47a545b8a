"""WAL in the archive that no moment needs any more, and that of branches that are gone.

A pinned moment needs the WAL from the redo LSN of the layer that opens it up to itself, the window of history
all from its first moment's layer on. What lies between can go.

Whoever read a manifest before a layer was taken out of it may still pin a moment that was at the window's
edge: so an object goes only if, after a pause, nothing needs it still. The pause is counted while this
process runs. Killed anywhere, the next look begins again; objects go one by one, and each is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from neon_compose import log, wait
from neon_compose.compute.layout import Tips
from neon_compose.layer.history import Aged, stack_for
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.documents import Manifest
from neon_compose.pageserver.archive import Archive, Piece

_log = log.get(__name__)

_PAUSE_S = 3600.0
_END = Lsn((1 << 64) - 1)

Stretch = tuple[Lsn, Lsn]
Since = Callable[[Sequence[Aged]], Lsn]  # from where on each moment of a branch is to be kept


def needed_wal(
    history: Sequence[Aged], moments: Iterable[Lsn], since: Lsn, redo: Callable[[tuple[UUID, ...]], Lsn]
) -> list[Stretch]:
    """The stretches of WAL that open each of `moments`, and every moment from `since` on."""
    oldest = history[0].consistent
    found = [(redo(stack_for(history, one)), one) for one in moments if one >= oldest]
    return [*found, (redo(stack_for(history, max(since, oldest))), _END)]


class UnneededWal:
    """Used by one thread."""

    def __init__(self, archive: Archive, tips: Tips) -> None:
        self._archive = archive
        self._tips = tips
        self._since: dict[str, float] = {}  # when an object was first seen to be unneeded

    def look(self, manifest: Manifest, history: Sequence[Aged], since: Since) -> None:
        """At the branch with its layers as they are now."""
        size = self._tips.get(manifest.layers).control.wal_segment_size
        pieces = self._archive.pieces(manifest, size)
        if not pieces:
            return
        stretches = needed_wal(history, (one.lsn for one in manifest.pins), since(history), self._redo)
        for piece in pieces:
            if any(piece.begin < end and start < piece.end for start, end in stretches):
                self._since.pop(piece.key, None)
            elif self._is_due(piece):
                self._archive.remove(manifest.branch_id, piece)
                self._since.pop(piece.key)
                _log.info("%s is removed from the archive: no moment needs it", piece.key)

    def drop_gone(self, there: Callable[[], Iterable[UUID]]) -> None:
        """All WAL of branches that had some and aren't `there`; asked after, so none is overlooked."""
        for branch_id in sorted(self._archive.branches() - set(there())):
            self._archive.drop(branch_id)
            _log.info("the WAL of branch %s is removed from the archive: the branch is gone", branch_id)

    def _is_due(self, piece: Piece) -> bool:
        now_s = wait.monotonic_s()
        return now_s - self._since.setdefault(piece.key, now_s) >= _PAUSE_S

    def _redo(self, layers: tuple[UUID, ...]) -> Lsn:
        return self._tips.get(layers).control.redo
