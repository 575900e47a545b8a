"""How old the layers of the storage are: what their heads say, read once, since layers don't change."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from neon_compose.layer.history import Aged
from neon_compose.layer.index import read_head
from neon_compose.layer.pack import LayerFiles
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.store import ObjectStore


class Ages:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._known: dict[UUID, Aged] = {}

    def of(self, layers: Sequence[UUID]) -> list[Aged]:
        """Raises `Corrupt` for a layer that can't be read."""
        return [self._known.get(layer) or self._read(layer) for layer in layers]

    def end(self, layers: Sequence[UUID]) -> Lsn:
        """The earliest moment that the newest of `layers` opens."""
        return self.of(layers[-1:])[0].consistent

    def _read(self, layer: UUID) -> Aged:
        head = read_head(LayerFiles.of(self._store.local_path("layers"), layer).index)
        found = Aged(layer, head.kind, head.consistent)
        self._known[layer] = found
        return found
