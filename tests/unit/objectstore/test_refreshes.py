"""A newer copy of the source becomes main; what main was stays. Kills at every call: test_crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neon_compose.errors import Conflict
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Point, Writer
from neon_compose.objectstore.store import ObjectStore
from tests.fakes_store import MemoryStore
from tests.unit.objectstore.samples import CLUSTER, LAYERS, LSN, NEWER, make_storage, refresh_main


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    make_storage(made)
    return made


def main(store: ObjectStore) -> Manifest:
    return manifests.read_branch(store, "main")


def names(store: ObjectStore) -> list[str]:
    return [one.name for one in manifests.list_snapshots(store)]


def test_main_is_the_new_one_and_the_old_one_can_still_be_opened(store: MemoryStore) -> None:
    old = main(store)
    refresh_main(store)
    assert (main(store).layers, main(store).cluster, main(store).parent) == ((NEWER,), CLUSTER, None)
    assert names(store) == ["import", "init"]
    assert manifests.read_snapshot(store, "init").ref.branch_id == old.branch_id
    assert manifests.read_manifest(store, old.branch_id).layers == LAYERS
    assert manifests.read_snapshot(store, "import").ref.branch_id == main(store).branch_id


def test_every_refresh_has_a_snapshot_of_its_own(store: MemoryStore) -> None:
    for _ in range(3):
        refresh_main(store)
    assert names(store) == ["import", "import-2", "import-3", "init"]
    assert len(manifests.read_eras(store, "main")) == 4
    assert [one.name for one in manifests.list_branches(store)] == ["main"]


def test_a_branch_of_the_old_main_stays_as_it_is(store: MemoryStore) -> None:
    point = Point(main(store).branch_id, LSN)
    child, _ = manifests.create_branch(store, "child", point, LAYERS)
    refresh_main(store)
    assert manifests.read_branch(store, "child") == child
    assert manifests.create_branch(store, "child", point, LAYERS) == (child, False)
    assert manifests.create_branch(store, "later", point, LAYERS)[1]


def test_a_main_that_a_pg_writes_to_stays(store: MemoryStore) -> None:
    refresh = manifests.begin_refresh(store)
    written = manifests.update_manifest(store, main(store).branch_id, lambda one: with_writer(one, "shop"))
    with pytest.raises(Conflict) as caught:
        manifests.commit_refresh(store, refresh, CLUSTER, LSN)
    assert caught.value.code == "branch_in_use"
    manifests.settle_refresh(store)
    assert main(store) == written
    assert names(store) == ["init"]
    assert len(list(store.list("branches/"))) == 1


def test_one_refresh_at_a_time(store: MemoryStore) -> None:
    manifests.begin_refresh(store)
    with pytest.raises(Conflict) as caught:
        manifests.begin_refresh(store)
    assert caught.value.code == "busy"


def test_settling_removes_the_layer_of_the_refresh_and_no_other(store: MemoryStore) -> None:
    refresh = manifests.begin_refresh(store)
    for layer in (refresh.layer_id, LAYERS[0], NEWER):
        store.put_new(f"layers/{layer}.pages", b"x")
        store.put_new(f"layers/{layer}.index", b"x")
    manifests.settle_refresh(store)
    kept = sorted(f"layers/{layer}.{kind}" for layer in (LAYERS[0], NEWER) for kind in ("pages", "index"))
    assert sorted(store.list("layers/")) == kept
    assert not manifests.is_refreshing(store)


def with_writer(manifest: Manifest, pg: str) -> Manifest:
    return replace(manifest, writer=Writer(pg, "g"))
