from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from neon_compose import wait
from neon_compose.errors import Conflict, Corrupt, NeonError, NotFound, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.codec import encode
from neon_compose.objectstore.documents import (
    BranchRef,
    PinKind,
    Point,
    Writer,
    branch_ref_key,
    manifest_key,
)
from tests.fakes_store import MemoryStore, WatchedStore
from tests.unit.objectstore.samples import DOC, LAYERS, LSN, main_point, make_storage


@pytest.fixture
def store() -> MemoryStore:
    memory = MemoryStore()
    make_storage(memory)
    return memory


def refusal(kind: type[NeonError], call: object) -> str:
    with pytest.raises(kind) as caught:
        call()  # type: ignore[operator]
    return caught.value.code


def test_a_new_storage_has_main_and_its_snapshot(store: MemoryStore) -> None:
    main = manifests.read_branch(store, "main")
    assert manifests.read_storage(store) == DOC
    assert (main.layers, main.parent, main.writer) == (LAYERS, None, None)
    assert [one.name for one in manifests.list_branches(store)] == ["main"]
    (snapshot,) = manifests.list_snapshots(store)
    assert (snapshot.name, snapshot.ref.branch_id, snapshot.ref.lsn) == ("init", main.branch_id, LSN)


def test_making_the_same_storage_again_is_success_and_another_is_refused(store: MemoryStore) -> None:
    before = dict(store.objects)
    make_storage(store)
    assert store.objects == before
    other = replace(DOC, storage_id=UUID(int=2))
    code = refusal(
        Conflict, lambda: manifests.create_storage(store, other, layers=LAYERS, snapshot="init", lsn=LSN)
    )
    assert code == "storage_exists"
    assert store.objects == before


def test_no_storage_is_told_apart_from_a_newer_and_a_damaged_one() -> None:
    store = MemoryStore()
    assert refusal(NotFound, lambda: manifests.read_storage(store)) == "no_storage"
    store.objects["storage.json"] = b'{"format": 9}'
    assert refusal(Conflict, lambda: manifests.read_storage(store)) == "newer_format"
    store.objects["storage.json"] = b"{"
    refusal(Corrupt, lambda: manifests.read_storage(store))


def test_a_loser_of_the_race_for_a_storage_leaves_nothing() -> None:
    inner = MemoryStore()
    other = replace(DOC, storage_id=UUID(int=2))

    def between(number: int) -> None:
        if number == 3:  # after the manifest, before storage.json
            manifests.create_storage(inner, other, layers=LAYERS, snapshot="init", lsn=LSN)

    store = WatchedStore(inner, between)
    assert refusal(Conflict, lambda: make_storage(store)) == "storage_exists"
    assert len(list(inner.list("branches/"))) == 1
    assert manifests.read_branch(inner, "main")


def test_what_a_dead_maker_left_is_discarded_and_a_storage_is_not() -> None:
    store = MemoryStore()
    store.put_new("layers/x.pages", b"")
    store.put_new("branches/x.json", b"")
    assert manifests.discard_unborn(store) == ["branches/x.json", "layers/x.pages"]
    assert not store.objects
    make_storage(store)
    assert refusal(Conflict, lambda: manifests.discard_unborn(store)) == "storage_exists"
    assert manifests.read_branch(store, "main")


def test_a_branch_is_made_from_a_moment_and_pins_it(store: MemoryStore) -> None:
    point, writer = main_point(store), Writer("pg1", "abc")
    made, is_new = manifests.create_branch(store, "try", point, LAYERS, writer)
    assert is_new
    assert (made.name, made.parent, made.layers, made.writer) == ("try", point, LAYERS, writer)
    assert made == manifests.read_branch(store, "try")
    pins = manifests.read_branch(store, "main").pins
    assert [(pin.kind, pin.id) for pin in pins[1:]] == [(PinKind.BRANCH, made.branch_id)]


def test_making_the_same_branch_again_changes_nothing(store: MemoryStore) -> None:
    first, _ = manifests.create_branch(store, "try", main_point(store), LAYERS)
    before = dict(store.objects)
    assert manifests.create_branch(store, "try", main_point(store), LAYERS, Writer("x", "y")) == (
        first,
        False,
    )
    assert store.objects == before


def test_a_branch_of_another_source_is_a_conflict(store: MemoryStore) -> None:
    point = main_point(store)
    manifests.create_branch(store, "try", point, LAYERS)
    other = Point(point.branch_id, Lsn(0x2000))
    assert refusal(Conflict, lambda: manifests.create_branch(store, "try", other, LAYERS)) == "branch_exists"
    assert refusal(Conflict, lambda: manifests.create_branch(store, "main", point, LAYERS)) == "branch_exists"


def test_a_branch_of_a_parent_that_is_gone_leaves_its_name_free(store: MemoryStore) -> None:
    gone = Point(UUID(int=999), LSN)
    assert refusal(NotFound, lambda: manifests.create_branch(store, "try", gone, LAYERS)) == "no_branch"
    assert manifests.create_branch(store, "try", main_point(store), LAYERS)[1]


def test_a_deleted_branch_is_gone_with_its_pin_and_its_name_is_free(store: MemoryStore) -> None:
    first, _ = manifests.create_branch(store, "try", main_point(store), LAYERS)
    manifests.delete_branch(store, "try")
    manifests.delete_branch(store, "try")
    assert refusal(NotFound, lambda: manifests.read_branch(store, "try")) == "no_branch"
    assert refusal(NotFound, lambda: manifests.read_manifest(store, first.branch_id)) == "no_branch"
    manifests.end_deleted(store, "try", lambda _: None)
    assert [pin.kind for pin in manifests.read_branch(store, "main").pins] == [PinKind.SNAPSHOT]
    second, is_new = manifests.create_branch(store, "try", main_point(store), LAYERS)
    assert is_new
    assert second.branch_id != first.branch_id


def test_who_needs_a_branch_is_named(store: MemoryStore) -> None:
    child, _ = manifests.create_branch(store, "try", main_point(store), LAYERS)
    point = Point(child.branch_id, LSN)
    for name in ("two", "one"):
        manifests.create_branch(store, name, point, LAYERS)
    manifests.create_snapshot(store, "mark", point)
    store.delete(manifest_key(manifests.read_branch(store, "two").branch_id))
    with pytest.raises(Conflict) as caught:
        manifests.delete_branch(store, "try")
    assert caught.value.detail == "Branches made from it: one. Snapshots of it: mark. Not finished: 1."
    assert "branch delete try --cascade" in caught.value.hint


def test_a_branch_that_is_needed_is_not_deleted(store: MemoryStore) -> None:
    child, _ = manifests.create_branch(store, "try", main_point(store), LAYERS)
    point = Point(child.branch_id, LSN)

    def delete() -> None:
        manifests.delete_branch(store, "try")

    manifests.create_branch(store, "grandchild", point, LAYERS)
    assert refusal(Conflict, delete) == "branch_needed"
    manifests.delete_branch(store, "grandchild")
    manifests.create_snapshot(store, "mark", point)
    assert refusal(Conflict, delete) == "branch_needed"
    manifests.delete_snapshot(store, "mark")
    manifests.update_manifest(store, child.branch_id, lambda one: replace(one, writer=Writer("pg1", "abc")))
    assert refusal(Conflict, delete) == "branch_in_use"
    manifests.update_manifest(store, child.branch_id, lambda one: replace(one, writer=None))
    delete()
    assert refusal(Conflict, lambda: manifests.delete_branch(store, "main")) == "main_branch"
    assert refusal(NotFound, lambda: manifests.delete_branch(store, "never")) == "no_branch"


def test_nothing_is_added_to_a_branch_that_is_being_deleted(store: MemoryStore) -> None:
    child, _ = manifests.create_branch(store, "try", main_point(store), LAYERS)
    fenced = replace(child, deleted=wait.now())
    store.objects[f"branches/{child.branch_id}.json"] = encode(fenced)
    point = Point(child.branch_id, LSN)
    assert refusal(NotFound, lambda: manifests.create_branch(store, "sub", point, LAYERS)) == "no_branch"
    assert refusal(NotFound, lambda: manifests.create_snapshot(store, "mark", point)) == "no_branch"
    assert (
        refusal(NotFound, lambda: manifests.update_manifest(store, child.branch_id, lambda m: m))
        == "no_branch"
    )
    assert manifests.create_snapshot(store, "mark", main_point(store))[1]
    assert [one.name for one in manifests.list_branches(store)] == ["main"]
    made, is_new = manifests.create_branch(store, "try", main_point(store), LAYERS)
    assert is_new
    assert made.branch_id != child.branch_id


def test_a_claim_alone_is_no_branch_and_only_its_own_wish_may_finish_it(store: MemoryStore) -> None:
    point = main_point(store)
    claimed = BranchRef(UUID(int=5), point)
    store.put_new(branch_ref_key("try"), encode(claimed))
    assert refusal(NotFound, lambda: manifests.read_branch(store, "try")) == "no_branch"
    other = Point(point.branch_id, Lsn(0x2000))
    assert refusal(Conflict, lambda: manifests.create_branch(store, "try", other, LAYERS)) == "branch_exists"
    made, is_new = manifests.create_branch(store, "try", point, LAYERS)
    assert is_new
    assert made.branch_id == claimed.branch_id


def test_a_claim_can_be_deleted(store: MemoryStore) -> None:
    point = main_point(store)
    store.put_new(branch_ref_key("try"), encode(BranchRef(UUID(int=5), point)))
    manifests.delete_branch(store, "try")
    assert manifests.create_branch(store, "try", Point(point.branch_id, Lsn(0x2000)), LAYERS)[1]


def test_what_a_taken_name_is_of_is_said_by_name(store: MemoryStore) -> None:
    point = main_point(store)
    manifests.create_branch(store, "try", point, LAYERS)
    manifests.create_snapshot(store, "mark", point)
    other = Point(point.branch_id, Lsn(0x2000))
    with pytest.raises(Conflict) as branch:
        manifests.create_branch(store, "try", other, LAYERS)
    with pytest.raises(Conflict) as snapshot:
        manifests.create_snapshot(store, "mark", other)
    for caught in (branch, snapshot):
        assert f'branch "main" at {point.lsn}' in caught.value.detail


def test_a_snapshot_is_made_once_and_repeat_is_success(store: MemoryStore) -> None:
    point = main_point(store)
    made, is_new = manifests.create_snapshot(store, "mark", point)
    assert is_new
    before = dict(store.objects)
    assert manifests.create_snapshot(store, "mark", point) == (made, False)
    assert store.objects == before
    assert manifests.read_snapshot(store, "mark") == made
    other = Point(point.branch_id, Lsn(0x2000))
    assert refusal(Conflict, lambda: manifests.create_snapshot(store, "mark", other)) == "snapshot_exists"


def test_a_deleted_snapshot_is_gone_and_its_name_is_free(store: MemoryStore) -> None:
    point = main_point(store)
    manifests.delete_snapshot(store, "init")
    manifests.delete_snapshot(store, "init")
    assert manifests.read_branch(store, "main").pins == ()
    assert manifests.list_snapshots(store) == []
    assert refusal(NotFound, lambda: manifests.read_snapshot(store, "init")) == "no_snapshot"
    assert refusal(NotFound, lambda: manifests.delete_snapshot(store, "never")) == "no_snapshot"
    manifests.read_storage(store)
    assert manifests.list_snapshots(store) == []
    assert manifests.create_snapshot(store, "init", Point(point.branch_id, Lsn(0x2000)))[1]


def test_an_update_sees_the_newest_manifest_and_gives_up_when_it_always_loses(store: MemoryStore) -> None:
    main = manifests.read_branch(store, "main").branch_id

    def add_term(number: int) -> None:
        if number == 2:
            manifests.update_manifest(store, main, lambda one: replace(one, term=one.term + 10))

    after = manifests.update_manifest(
        WatchedStore(store, add_term), main, lambda one: replace(one, term=one.term + 1)
    )
    assert after.term == 11

    def always(number: int) -> None:
        if number % 2 == 0:
            manifests.update_manifest(store, main, lambda one: replace(one, term=one.term + 1))

    loser = WatchedStore(store, always)
    assert (
        refusal(
            Unavailable,
            lambda: manifests.update_manifest(loser, main, lambda one: replace(one, writer=Writer("a", "b"))),
        )
        == "contended"
    )
