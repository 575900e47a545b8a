"""A storage to begin with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster, Manifest, Point, StorageDoc
from neon_compose.objectstore.store import ObjectStore

LAYERS = (UUID(int=77),)
LSN = Lsn(0x1000)
NEWER = UUID(int=78)
CLUSTER = Cluster(system_identifier=8, default_database="shop")
DOC = StorageDoc(
    storage_id=UUID(int=1),
    postgres_major=17,
    system_identifier=7,
    default_database="postgres",
    admin_password="secret",
    created=datetime(2026, 1, 1, tzinfo=UTC),
)


def make_storage(store: ObjectStore) -> Manifest:
    return manifests.create_storage(store, DOC, layers=LAYERS, snapshot="init", lsn=LSN)


def main_point(store: ObjectStore) -> Point:
    return Point(manifests.read_branch(store, "main").branch_id, LSN)


def refresh_main(store: ObjectStore, layers: tuple[UUID, ...] = (NEWER,)) -> None:
    """What a pageserver does, all but the layer; one that was cut off is settled first."""
    manifests.settle_refresh(store)
    refresh = replace(manifests.begin_refresh(store), layer_id=layers[0])
    manifests.commit_refresh(store, refresh, CLUSTER, Lsn(0x3000))
