"""The list of layers in a branch's manifest: how it grows. The layer's files, and its map, come before."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from neon_compose.errors import Conflict
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.pins import update_manifest
from neon_compose.objectstore.store import ObjectStore


def append_layer(store: ObjectStore, branch_id: UUID, expected: tuple[UUID, ...], layer: UUID) -> Manifest:
    """Make `layer`, which was built over the layers `expected`, the newest of the branch.

    Repeat is success. Raises `Conflict` code "layers_changed" if the branch has others by now, `NotFound`
    code "no_branch" if it was deleted: then nothing names the layer.
    """

    def grow(manifest: Manifest) -> Manifest:
        if manifest.layers == (*expected, layer):
            return manifest
        if manifest.layers != expected:
            raise Conflict(
                f'the layers of branch "{manifest.name}" have changed',
                detail=f"The newest is {manifest.tip}, not {expected[-1]}.",
                code="layers_changed",
            )
        return replace(manifest, layers=(*expected, layer))

    return update_manifest(store, branch_id, grow)
