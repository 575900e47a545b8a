"""A branch goes back under its name; what it was stays under another. Kills at every call: test_crashes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from neon_compose.errors import Conflict, NeonError, NotFound
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.model.names import kept_name, parse_name
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import RESTORES, Manifest, Point, Writer
from neon_compose.objectstore.store import ObjectStore
from tests.fakes_store import MemoryStore, WatchedStore
from tests.unit.objectstore.samples import LAYERS, LSN, NEWER, main_point, make_storage, refresh_main

WRITER = Writer("shop", "g")
KEPT = "kept"


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    make_storage(made)
    manifests.create_branch(made, "shop", main_point(made), LAYERS, WRITER)
    return made


def restore(store: ObjectStore, name: str = "shop", keep: str = KEPT) -> tuple[Manifest, list[Writer]]:
    """Back to its own beginning; (the new branch, what was discarded)."""
    old = manifests.read_branch(store, name)
    discarded: list[Writer] = []
    point = Point(old.branch_id, Lsn(0x1800))
    return manifests.restore_branch(store, name, point, (NEWER,), None, keep, discarded.append), discarded


def names(store: ObjectStore) -> list[str]:
    return [one.name for one in manifests.list_branches(store)]


def test_the_name_is_the_new_branch_and_the_old_one_has_another_name(store: MemoryStore) -> None:
    old = manifests.read_branch(store, "shop")
    made, discarded = restore(store)
    assert manifests.read_branch(store, "shop") == made
    assert (made.writer, made.layers, made.replaces) == (None, (NEWER,), old.branch_id)
    kept = manifests.read_branch(store, KEPT)
    assert replace(kept, pins=()) == replace(old, name=KEPT, writer=None)
    assert [one.id for one in kept.pins] == [made.branch_id]
    assert discarded == [WRITER]
    assert names(store) == [KEPT, "main", "shop"]


def test_children_and_snapshots_stay_with_what_they_are_of(store: MemoryStore) -> None:
    old = manifests.read_branch(store, "shop")
    child, _ = manifests.create_branch(store, "child", Point(old.branch_id, LSN), LAYERS)
    mark, _ = manifests.create_snapshot(store, "mark", Point(old.branch_id, LSN))
    restore(store)
    assert manifests.read_branch(store, "child") == child
    assert manifests.read_snapshot(store, "mark") == mark
    with pytest.raises(Conflict, match="is needed"):
        manifests.delete_branch(store, KEPT)


def test_both_can_be_restored_and_deleted_again(store: MemoryStore) -> None:
    restore(store)
    restore(store, keep="second")
    restore(store, KEPT, keep="third")
    manifests.delete_branch(store, "shop")
    manifests.delete_branch(store, "second")
    assert names(store) == [KEPT, "main", "third"]


def test_main_goes_back_with_all_that_it_was() -> None:
    store = MemoryStore()
    make_storage(store)
    refresh_main(store)
    eras = manifests.read_eras(store, "main")
    made, _ = restore(store, "main")
    assert [one.branch_id for one in manifests.read_eras(store, KEPT)] == [one.branch_id for one in eras]
    assert manifests.read_eras(store, "main") == (made,)
    refresh_main(store)
    assert len(manifests.read_eras(store, "main")) == 2
    manifests.delete_snapshot(store, "init")
    with pytest.raises(Conflict, match="is needed"):
        manifests.delete_branch(store, KEPT)


def test_a_name_that_is_taken_is_refused_and_nothing_has_changed(store: MemoryStore) -> None:
    before = dict(store.objects)
    with pytest.raises(Conflict) as caught:
        restore(store, keep="main")
    assert caught.value.code == "branch_exists"
    with pytest.raises(NotFound):
        restore(store, "nobody")
    gone = Point(new_id(), LSN)
    with pytest.raises(NotFound):
        manifests.restore_branch(store, "shop", gone, LAYERS, None, KEPT, lambda _: None)
    assert store.objects == before


def test_a_name_that_is_taken_meanwhile_makes_it_the_next(store: MemoryStore) -> None:
    def taking(_: int) -> None:
        if list(store.list(RESTORES)) and KEPT not in names(store):
            manifests.create_branch(store, KEPT, main_point(store), LAYERS)

    old = manifests.read_branch(store, "shop").branch_id
    restore(WatchedStore(store, taking))
    assert manifests.read_branch(store, f"{KEPT}-2").branch_id == old


@pytest.mark.parametrize("at", range(1, 25))
def test_a_branch_that_is_deleted_meanwhile_is_gone_or_restored(at: int) -> None:
    store = MemoryStore()
    make_storage(store)
    manifests.create_branch(store, "shop", main_point(store), LAYERS)

    def deleting(number: int) -> None:
        if number == at:
            try:
                manifests.delete_branch(store, "shop")
            except NeonError:
                return

    try:
        restore(WatchedStore(store, deleting))
    except NeonError:
        assert names(store) == ["main"]
    assert list(store.list(RESTORES)) == []


def test_the_parent_is_what_the_name_was_first_made_from_as_it_is_now(store: MemoryStore) -> None:
    def origin(name: str) -> str | None:
        found = manifests.origin_of(store, manifests.read_branch(store, name))
        return found.name if found else None

    assert (origin("shop"), origin("main")) == ("main", None)
    restore(store)
    restore(store, keep="second")
    assert origin("shop") == "main"
    restore(store, "main", keep="main-old")
    assert (origin("shop"), origin("main")) == ("main", None)
    found = manifests.origin_of(store, manifests.read_branch(store, "shop"))
    assert found == manifests.read_branch(store, "main")


def test_the_kept_name_has_the_time_and_always_fits() -> None:
    now = datetime(2026, 11, 28, 9, 5, 7, tzinfo=UTC)
    assert kept_name("shop", now) == "shop-before-20261128-090507"
    for name in ("a" * 40, "a" * 16 + "-" + "b" * 20):
        assert len(parse_name(kept_name(name, now))) <= 40
