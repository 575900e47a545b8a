"""How much disk is a branch's own: its compute's files, and the layers that its parent doesn't have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from uuid import UUID

from neon_compose.layer.pack import LayerFiles
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Writer
from neon_compose.objectstore.local import LocalStore


@dataclass(frozen=True)
class Sizes:
    """`of_writer` is what the compute has that a manifest names."""

    store: LocalStore
    of_writer: Callable[[Writer], int]

    def own(self) -> dict[str, int]:
        """Allocated bytes by branch; of a name that a refresh gave to another, those of all that had it."""
        found = manifests.list_eras(self.store)
        by_id = {one.branch_id: one for eras in found for one in eras}
        return {eras[-1].name: sum(self._own(one, by_id) for one in eras) for eras in found}

    def _own(self, branch: Manifest, by_id: Mapping[UUID, Manifest]) -> int:
        parent = by_id.get(branch.parent.branch_id) if branch.parent else None
        shared = parent.layers if parent else ()
        layers = sum(self._layer(layer) for layer in branch.layers if layer not in shared)
        return layers + (self.of_writer(branch.writer) if branch.writer else 0)

    def _layer(self, layer: UUID) -> int:
        files: tuple[Path, ...] = astuple(LayerFiles.of(self.store.local_path("layers"), layer))
        return sum(_allocated(path) for path in files)


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
