"""A storage to begin with."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Point, StorageDoc
from neon_compose.objectstore.store import ObjectStore

LAYERS = (UUID(int=77),)
LSN = Lsn(0x1000)
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
