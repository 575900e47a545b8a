"""kill -9 at every call of every function that changes a storage, and another process at every call.

Each operation is stopped before and after each of its store calls. Then: what readers see is the state
before or after the whole; the same call again succeeds; and the end is what it would have been without
the crash, with nothing dangling: every pin has its holder, every manifest its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from neon_compose.errors import Conflict, NeonError
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import cas, manifests
from neon_compose.objectstore.documents import (
    RESTORES,
    BranchRef,
    Manifest,
    Point,
    SnapshotRef,
    Writer,
    branch_ref_key,
    manifest_key,
)
from neon_compose.objectstore.store import ObjectStore
from tests.fakes_store import DyingStore, Killed, MemoryStore, WatchedStore
from tests.unit.objectstore.samples import LAYERS, LSN, NEWER, main_point, make_storage, refresh_main


@dataclass(frozen=True)
class Operation:
    name: str
    prepare: Callable[[ObjectStore], object]
    run: Callable[[ObjectStore], object]
    restart: Callable[[ObjectStore], object] = lambda _: None  # what comes before anybody reads


def child(store: ObjectStore) -> None:
    manifests.create_branch(store, "child", main_point(store), LAYERS)


def claim_child(store: ObjectStore) -> None:
    """The maker of child has claimed its name and stands still."""
    cas.put_once(store, branch_ref_key("child"), BranchRef(UUID(int=5), main_point(store)))


def other_child(store: ObjectStore) -> None:
    """The same name from another moment."""
    point = Point(main_point(store).branch_id, Lsn(0x2000))
    manifests.create_branch(store, "child", point, LAYERS)


def mark(store: ObjectStore) -> None:
    manifests.create_snapshot(store, "mark", main_point(store))


def grandchild(store: ObjectStore) -> None:
    manifests.create_branch(store, "grandchild", Point(branch_id(store, "child"), LSN), LAYERS)


def child_mark(store: ObjectStore) -> None:
    manifests.create_snapshot(store, "child-mark", Point(branch_id(store, "child"), LSN))


def branch_id(store: ObjectStore, name: str) -> object:
    return manifests.read_branch(store, name).branch_id  # type: ignore[return-value]


def delete_child(store: ObjectStore) -> None:
    manifests.delete_branch(store, "child")


def delete_grandchild(store: ObjectStore) -> None:
    manifests.delete_branch(store, "grandchild")


def undelete_child(store: ObjectStore) -> None:
    manifests.undelete_branch(store, "child")


def undelete_grandchild(store: ObjectStore) -> None:
    manifests.undelete_branch(store, "grandchild")


def undelete_as_other(store: ObjectStore) -> None:
    manifests.undelete_branch(store, "child", "other")


def end_child(store: ObjectStore) -> None:
    manifests.end_deleted(store, "child", lambda _: None)


def end_at_once(store: ObjectStore) -> None:
    sequence(delete_child, end_child)(store)


def settle(store: ObjectStore) -> None:
    manifests.settle_deleted(store, lambda _: None)


def delete_mark(store: ObjectStore) -> None:
    manifests.delete_snapshot(store, "mark")


def refreshed(store: ObjectStore) -> None:
    """Once: a repeat finishes or undoes what was cut off, and refreshes only if that was not done."""
    manifests.settle_refresh(store)
    if len(manifests.read_eras(store, "main")) == 1:
        refresh_main(store)


def claim_main(store: ObjectStore) -> None:
    """A pg becomes the writer of main, as pageserver.claims does."""
    manifests.update_manifest(store, manifests.read_branch(store, "main").branch_id, with_writer)


def with_writer(manifest: Manifest) -> Manifest:
    if manifest.successor is not None:
        raise Conflict("it was refreshed", code="branch_refreshed")
    return replace(manifest, writer=Writer("pg", "g"))


def owned_child(store: ObjectStore) -> None:
    """A branch that a pg writes to."""
    manifests.create_branch(store, "child", main_point(store), LAYERS, Writer("pg", "g"))


def restored(name: str) -> Callable[[ObjectStore], None]:
    """Once: a repeat finishes or undoes what was cut off, and restores only if that was not done."""

    def run(store: ObjectStore) -> None:
        settled(store)
        if manifests.read_branch(store, name).replaces is None:
            point = main_point(store)
            manifests.restore_branch(store, name, point, (NEWER,), None, "kept", lambda _: None)

    return run


def settled(store: ObjectStore) -> None:
    manifests.settle_restores(store, lambda _: None)


def sequence(*steps: Callable[[ObjectStore], object]) -> Callable[[ObjectStore], object]:
    def run(store: ObjectStore) -> None:
        for step in steps:
            step(store)

    return run


nothing = sequence()
family = (make_storage, child, grandchild)
fallen = (make_storage, child, delete_child)
OPERATIONS = [
    Operation("create storage", nothing, make_storage),
    Operation("create branch", make_storage, child),
    Operation("create branch over a tombstone", sequence(make_storage, other_child, delete_child), child),
    Operation("delete branch", sequence(make_storage, child), delete_child),
    Operation("delete the parent of deleted ones", sequence(*family, delete_grandchild), delete_child),
    Operation("undelete", sequence(make_storage, child, delete_child), undelete_child),
    Operation("undelete once more", sequence(*fallen, undelete_child, delete_child), undelete_child),
    Operation("undelete over a tombstone", sequence(*fallen, other_child, delete_child), undelete_child),
    Operation("undelete as another", sequence(*fallen, other_child), undelete_as_other),
    Operation("undelete a child", sequence(*family, delete_grandchild), undelete_grandchild),
    Operation("end", sequence(*fallen, other_child), end_child),
    Operation("create snapshot", make_storage, mark),
    Operation("create snapshot over a tombstone", sequence(make_storage, mark, delete_mark), mark),
    Operation("delete snapshot", sequence(make_storage, mark), delete_mark),
    Operation("refresh", make_storage, refreshed, manifests.settle_refresh),
    Operation("refresh with a child", sequence(make_storage, child), refreshed, manifests.settle_refresh),
    Operation("restore", sequence(make_storage, child), restored("child"), settled),
    Operation(
        "restore of a parent with a pg",
        sequence(make_storage, owned_child, grandchild, child_mark),
        restored("child"),
        settled,
    ),
    Operation(
        "restore of main to a name's tombstone",
        sequence(
            make_storage,
            lambda s: manifests.create_branch(s, "kept", main_point(s), LAYERS),
            lambda s: manifests.delete_branch(s, "kept"),
            child,
        ),
        restored("main"),
        settled,
    ),
    Operation(
        "restore of a refreshed main", sequence(make_storage, child, refreshed), restored("main"), settled
    ),
]


def seen(store: ObjectStore) -> tuple[object, ...]:
    """What readers see, without ids and times."""
    try:
        manifests.read_storage(store)
    except NeonError as error:
        return (error.code,)
    return (
        [(one.name, one.parent and one.parent.lsn, one.layers) for one in manifests.list_branches(store)],
        sorted((one.ref.lsn, one.name) for one in manifests.list_snapshots(store)),
        sorted((one.name, one.layers) for one in manifests.deleted_branches(store) if one.kept),
    )


def assert_nothing_dangles(store: ObjectStore, orphans: int = 0) -> None:
    """After what a pageserver does now and then: every name has its branch, every branch its name and its
    pin, awake or dormant as it is itself."""
    manifests.settle_deleted(store, lambda _: None)
    branches = [cas.read(store, key, BranchRef)[0] for key in store.list("refs/branches/")]
    snapshots = [cas.read(store, key, SnapshotRef)[0] for key in store.list("refs/snapshots/")]
    alive = {ref.branch_id for ref in branches if not ref.deleted}
    alive |= {one.branch_id for eras in manifests.list_eras(store) for one in eras}
    deleted = manifests.deleted_branches(store)
    kept = {one.branch_id for one in deleted if one.kept}
    assert {one.branch_id for one in deleted} == kept
    assert not kept & alive
    assert not manifests.is_refreshing(store)
    assert not list(store.list(RESTORES))
    held = alive | {ref.snapshot_id for ref in snapshots if not ref.deleted}
    for one in (*manifests.list_branches(store), *deleted):
        assert {pin.id for pin in one.pins if not pin.dormant} <= (held if not one.deleted else set())
        assert {pin.id for pin in one.pins if pin.dormant} <= kept
        assert len({pin.id for pin in one.pins}) == len(one.pins)
        assert not one.parent or one.branch_id in pins_of(store, one.parent.branch_id)
    names = [one.branch_id for eras in manifests.list_eras(store) for one in eras]
    assert len(set(names)) == len(names)
    assert len(list(store.list("branches/"))) <= len(alive) + len(kept) + orphans


def pins_of(store: ObjectStore, branch_id: UUID) -> set[UUID]:
    return {pin.id for pin in cas.read(store, manifest_key(branch_id), Manifest)[0].pins}


def calls_of(operation: Operation) -> int:
    store = MemoryStore()
    operation.prepare(store)
    counting = DyingStore(store, 0, after=False)
    operation.run(counting)
    return counting.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_killed_at_any_call_it_is_done_or_not_and_a_repeat_finishes_it(
    operation: Operation, after: bool
) -> None:
    whole = MemoryStore()
    operation.prepare(whole)
    before = seen(whole)
    operation.run(whole)
    done = seen(whole)
    for at in range(1, calls_of(operation) + 1):
        store = MemoryStore()
        operation.prepare(store)
        with pytest.raises(Killed):
            operation.run(DyingStore(store, at, after=after))
        operation.restart(store)
        assert seen(store) in (before, done)
        operation.run(store)
        assert seen(store) == done
        # A storage's maker that dies before storage.json leaves a manifest that discard_unborn removes.
        assert_nothing_dangles(store, orphans=1 if operation.name == "create storage" else 0)


@pytest.mark.parametrize("operation", OPERATIONS[1:], ids=lambda one: one.name)
def test_killed_at_any_two_calls_in_a_row_a_third_try_finishes_it(operation: Operation) -> None:
    whole = MemoryStore()
    sequence(operation.prepare, operation.run)(whole)
    for first in range(1, calls_of(operation) + 1):
        for second in range(1, calls_of(operation) + 1):
            store = MemoryStore()
            operation.prepare(store)
            for at in (first, second):
                try_to(lambda o=operation, s=store, a=at: o.run(DyingStore(s, a, after=True)))
            operation.run(store)
            assert seen(store) == seen(whole)
            assert_nothing_dangles(store)


INTERRUPTED = [
    (child, delete_child),
    (child, child),
    (child, other_child),
    (other_child, sequence(delete_child, child)),
    (delete_child, child),
    (delete_child, grandchild),
    (delete_child, child_mark),
    (delete_child, sequence(child, grandchild)),
    (delete_child, sequence(child, child_mark)),
    (delete_child, delete_child),
    (delete_child, sequence(delete_child, other_child)),
    (delete_child, sequence(delete_child, child)),
    (grandchild, delete_child),
    (child_mark, delete_child),
    (delete_child, undelete_child),
    (delete_child, sequence(delete_child, undelete_child)),
    (delete_child, sequence(delete_child, undelete_as_other)),
    (delete_child, sequence(delete_child, undelete_child, delete_child)),
    (delete_child, sequence(delete_child, other_child)),
    (delete_child, end_at_once),
    (delete_child, settle),
    (undelete_child, undelete_child),
    (undelete_child, undelete_as_other),
    (undelete_as_other, undelete_child),
    (undelete_as_other, undelete_as_other),
    (undelete_child, sequence(undelete_child, delete_child)),
    (undelete_as_other, sequence(undelete_child, delete_child)),
    (undelete_child, sequence(undelete_as_other, lambda s: manifests.delete_branch(s, "other"))),
    (undelete_child, child),
    (undelete_child, other_child),
    (undelete_child, sequence(other_child, delete_child)),
    (undelete_child, settle),
    (undelete_child, end_child),
    (undelete_as_other, end_child),
    (end_at_once, undelete_child),
    (end_at_once, undelete_as_other),
    (end_child, undelete_child),
    (end_child, sequence(undelete_child, delete_child)),
    (end_child, settle),
    (end_child, other_child),
    (settle, undelete_child),
    (settle, sequence(undelete_child, delete_child)),
    (settle, undelete_as_other),
    (child, undelete_child),
    (child, end_at_once),
    (other_child, undelete_child),
    (undelete_grandchild, delete_child),
    (delete_child, undelete_grandchild),
    (delete_child, sequence(delete_grandchild, settle)),
    (undelete_grandchild, sequence(delete_child, end_child)),
    (end_at_once, undelete_grandchild),
    (mark, delete_mark),
    (mark, sequence(delete_mark, mark)),
    (mark, mark),
    (delete_mark, mark),
    (delete_mark, sequence(delete_mark, mark)),
]


@pytest.mark.parametrize(("slow", "quick"), INTERRUPTED)
@pytest.mark.parametrize(
    "prepared",
    [
        nothing,
        claim_child,
        sequence(child, mark),
        sequence(child, delete_child),
        sequence(child, grandchild, delete_grandchild),
        sequence(child, delete_child, undelete_child),
    ],
    ids=["absent", "claimed", "there", "deleted", "parent", "revived"],
)
def test_another_process_at_any_call_leaves_nothing_half_there(
    slow: Callable[[ObjectStore], object],
    quick: Callable[[ObjectStore], object],
    prepared: Callable[[ObjectStore], object],
) -> None:
    """`quick` runs whole before each call of `slow`, which then goes on; both may be refused, not torn."""
    for at in range(1, 60):
        store = MemoryStore()
        sequence(make_storage, prepared)(store)

        def between(number: int, at: int = at, store: MemoryStore = store) -> None:
            if number == at:
                try_to(lambda: quick(store))

        watched = WatchedStore(store, between)
        try_to(lambda w=watched: slow(w))
        assert_reads_agree(store)
        assert_nothing_dangles(store)
        if watched.calls < at:
            break


DYING = [child, other_child, delete_child, mark, delete_mark, undelete_child, undelete_as_other, end_child]


@pytest.mark.parametrize("dead", DYING)
@pytest.mark.parametrize("then", [*DYING, grandchild, settle])
def test_whatever_died_where_the_next_operations_work_or_refuse_cleanly(
    dead: Callable[[ObjectStore], object], then: Callable[[ObjectStore], object]
) -> None:
    for at in range(1, 20):
        store = MemoryStore()
        sequence(make_storage, mark)(store)
        if dead in (delete_child, undelete_child, undelete_as_other, end_child):
            child(store)
        if dead in (undelete_child, undelete_as_other, end_child):
            delete_child(store)
        try_to(lambda s=store, a=at: dead(DyingStore(s, a, after=True)))
        try_to(lambda s=store: then(s))
        assert_reads_agree(store)
        # Whatever is left, deleting and making anew gets everything into order.
        try_to(lambda s=store: manifests.delete_branch(s, "grandchild"))
        for name in ("mark", "child-mark"):
            try_to(lambda s=store, n=name: manifests.delete_snapshot(s, n))
        try_to(lambda s=store: delete_child(s))
        try_to(lambda s=store: manifests.settle_deleted(s, lambda _: None))
        try_to(lambda s=store: s and manifests.delete_branch(s, "other"))
        sequence(child, mark)(store)
        assert_nothing_dangles(store)


def assert_reads_agree(store: ObjectStore) -> None:
    """What is listed can be read, and every child's parent is there."""
    for one in manifests.list_branches(store):
        assert manifests.read_branch(store, one.name) == one
        if one.parent:
            manifests.read_manifest(store, one.parent.branch_id)
    for snapshot in manifests.list_snapshots(store):
        manifests.read_manifest(store, snapshot.ref.branch_id)
    ids = [one.branch_id for one in manifests.list_branches(store)]
    assert len(set(ids)) == len(ids)


def try_to(call: Callable[[], object]) -> None:
    try:
        call()
    except (NeonError, Killed):
        return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_call_of_the_end_of_a_family_the_next_try_ends_it(after: bool) -> None:
    for at in range(1, 200):
        store = MemoryStore()
        sequence(*family, delete_grandchild, delete_child)(store)
        dying = DyingStore(store, at, after=after)
        try_to(lambda d=dying: end_child(d))
        end_child(store)
        assert_nothing_dangles(store)
        assert [manifests.read_branch(store, "main").branch_id] == [
            one.branch_id for one in every_manifest(store)
        ]
        if dying.calls < at:
            return
    raise AssertionError("it has no end")


def every_manifest(store: ObjectStore) -> list[Manifest]:
    return [cas.read(store, key, Manifest)[0] for key in store.list("branches/")]


@pytest.mark.parametrize("meanwhile", [child, mark, claim_main])
def test_whatever_comes_at_any_call_of_a_refresh_main_is_one_or_the_other(
    meanwhile: Callable[[ObjectStore], object],
) -> None:
    for at in range(1, 30):
        store = MemoryStore()
        make_storage(store)

        def between(number: int, at: int = at, store: MemoryStore = store) -> None:
            if number == at:
                try_to(lambda: meanwhile(store))

        watched = WatchedStore(store, between)
        try_to(lambda w=watched: refreshed(w))
        try_to(lambda s=store: manifests.settle_refresh(s))
        eras = manifests.read_eras(store, "main")
        assert all(one.writer is None for one in eras[:-1])
        assert_nothing_dangles(store)
        assert_reads_agree(store)
        if watched.calls < at:
            break
