"""Which layers go, and when their files do: never one that a moment, a compute or another stack needs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from neon_compose import wait
from neon_compose.errors import Conflict, Corrupt
from neon_compose.layer.history import Aged, stack_for, stack_of
from neon_compose.layer.index import Kind
from neon_compose.layer.pack import LayerFiles
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Lease, Manifest, Pin, PinKind, Point, Writer
from neon_compose.pageserver import leftovers
from neon_compose.pageserver.collecting import Collector, Window, layers_in_use, made_at, window_start
from neon_compose.pageserver.deleting import Deleting
from neon_compose.pageserver.growing import Growth
from neon_compose.pageserver.redoing import RedoJobs
from tests.unit.pageserver.growth import FakeWal, Place, Said
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_app import service_of

NOTHING = Window(age=timedelta(0), wal_bytes=0)
HOUR_S = 3601.0


def quiet() -> None:
    pass


class Kept:
    """A storage whose main has layers, and a collector with no history to keep unless told to."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(tmp_path)
        self.place = Place(self.world.store, self.world.work)
        self.notes = self.world.work / "dropping"
        self.notes.mkdir()
        self.now_s = wait.monotonic_s()
        monkeypatch.setattr("neon_compose.pageserver.collecting.wait.monotonic_s", lambda: self.now_s)
        self.restart()

    def restart(self, window: Window = NOTHING) -> None:
        generations = self.world.generations
        self.collector = Collector(
            self.world.store,
            self.place.ages,
            lambda: layers_in_use(generations),
            lambda writer: generations.has(writer.pg, writer.generation),
            self.notes,
            self.place.work / "maps",
            window,
        )

    def advance(self, count: int = 1) -> None:
        for _ in range(count):
            end = Lsn(self.place.end().value + 4096)
            assert self.growth.advance(self.place.main(), Said(end), quiet)

    @property
    def growth(self) -> Growth:
        return self.place.growth

    def fold(self) -> None:
        self.growth.fold(self.place.main(), quiet)

    def change(self, **changes: object) -> None:
        main = self.place.main()
        manifests.update_manifest(
            self.world.store,
            main.branch_id,
            lambda one: replace(one, **changes),  # type: ignore[arg-type]
        )

    def collect(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.collector.collect()

    def files(self) -> set[UUID]:
        return {UUID(path.name.partition(".")[0]) for path in self.place.layers.iterdir()}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(tmp_path, monkeypatch)


def layers(*made: tuple[float, int]) -> list[Aged]:
    """Of (days ago, LSN)."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    ids = [UUID(int=int((now - timedelta(days=ago)).timestamp() * 1000) << 80) for ago, _ in made]
    return [Aged(one, Kind.DELTA, Lsn(lsn)) for one, (_, lsn) in zip(ids, made, strict=True)]


@pytest.mark.parametrize(
    ("days", "wal_bytes", "start"),
    [(7, 10_000, 100), (3, 10_000, 300), (30, 10_000, 0), (30, 250, 350), (0, 10_000, 600), (30, 0, 600)],
)
def test_a_window_begins_where_what_is_younger_can_be_opened(days: int, wal_bytes: int, start: int) -> None:
    history = layers((9, 100), (5, 200), (4, 300), (1, 600))
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert window_start(history, now, Window(timedelta(days=days), wal_bytes)) == Lsn(start)


def test_a_new_id_says_when_it_was_made(kept: Kept) -> None:
    kept.advance()
    assert abs(made_at(kept.place.main().tip) - wait.now()) < timedelta(minutes=1)


def test_what_lies_below_a_fold_goes_out_of_the_manifest_and_an_hour_later_from_the_disk(kept: Kept) -> None:
    kept.advance(2)
    kept.fold()
    deep = kept.place.main().layers
    kept.change(pins=())
    kept.collect()
    assert kept.place.main().layers == (deep[0], deep[-1])
    assert kept.files() == set(deep)
    kept.collect(HOUR_S)
    assert kept.files() == {deep[0], deep[-1]}
    assert not list(kept.notes.iterdir())
    assert {path.stem for path in (kept.place.work / "maps").iterdir()} <= {str(deep[0]), str(deep[-1])}
    assert kept.place.tips.get(kept.place.main().layers).layers == deep[-1:]


def test_the_pause_begins_anew_with_the_process(kept: Kept) -> None:
    kept.advance()
    kept.fold()
    kept.change(pins=())
    before = kept.files()
    kept.collect()
    kept.restart()
    kept.collect(HOUR_S)
    assert kept.files() == before
    kept.collect(HOUR_S)
    assert len(kept.files()) == 2


def test_the_window_and_pins_keep_what_they_need(kept: Kept) -> None:
    kept.advance(3)
    kept.fold()
    deep = kept.place.main()
    kept.restart(Window())
    kept.collect()
    assert kept.place.main().layers == (*deep.layers[:3], deep.tip)  # the fold says what the third delta says
    kept.restart()
    kept.change(pins=(Pin(PinKind.SNAPSHOT, uuid4(), kept.place.ages.end(deep.layers[:2])),))
    kept.collect()
    assert kept.place.main().layers == (*deep.layers[:2], deep.tip)
    kept.collect(HOUR_S)
    assert kept.files() == {*deep.layers[:2], deep.tip}


def test_history_begins_where_every_moment_is_open(kept: Kept) -> None:
    kept.advance(3)
    main, ages = kept.place.main(), kept.place.ages
    assert kept.collector.history_start(main) == ages.end(main.layers)
    kept.restart(Window())
    assert kept.collector.history_start(main) == ages.end(main.layers[:1])
    start = ages.end(main.layers[:2])
    child, _ = manifests.create_branch(kept.world.store, "try", Point(main.branch_id, start), main.layers[:2])
    assert kept.collector.history_start(child) == start


def test_layers_of_a_compute_stay_until_it_is_gone(kept: Kept) -> None:
    kept.advance()
    main, store = kept.place.main(), kept.world.store
    old = main.layers
    manifests.create_branch(store, "try", Point(main.branch_id, kept.place.end()), old)
    kept.world.up("try", "try")
    manifests.update_manifest(
        store, manifests.read_branch(store, "try").branch_id, lambda one: replace(one, layers=old[:1])
    )
    kept.advance()
    kept.fold()
    kept.change(pins=())
    kept.collect()
    kept.collect(HOUR_S)
    assert kept.place.main().layers == (old[0], kept.place.main().tip)
    assert kept.files() == {*old, kept.place.main().tip}  # by compute.json alone
    kept.world.delete("try", discard=True)
    kept.collect(HOUR_S)
    assert kept.files() == set(kept.place.main().layers)


@pytest.mark.parametrize(
    "state",
    [
        {"writer": Writer("elsewhere", "0123456789ab")},
        {"leases": (Lease(uuid4(), "a reader", datetime(2999, 1, 1, tzinfo=UTC)),)},
    ],
)
def test_a_branch_with_readers_that_are_not_ours_is_left_alone(kept: Kept, state: dict[str, object]) -> None:
    kept.advance()
    kept.fold()
    kept.change(pins=(), **state)
    before = kept.place.main()
    kept.collect()
    kept.collect(HOUR_S)
    assert kept.place.main() == before
    assert kept.files() == set(before.layers)


def test_nothing_is_removed_while_a_record_or_a_manifest_cannot_be_read(kept: Kept) -> None:
    kept.world.up("main", "main")
    kept.world.branches.create("other", "main", "init")
    kept.advance()
    kept.fold()
    kept.change(pins=())
    kept.collect()
    before = kept.files()
    record = next(kept.world.work.glob("pg/main/*/compute.json"))
    whole = record.read_bytes()
    record.write_bytes(b"")
    with pytest.raises(Conflict):
        kept.collect(HOUR_S)
    record.write_bytes(whole)
    other = manifests.read_branch(kept.world.store, "other")
    document = kept.world.store.local_path(f"branches/{other.branch_id}.json")
    document.write_bytes(b"torn")
    with pytest.raises(Corrupt):
        kept.collect(HOUR_S)
    assert kept.files() == before


def test_a_layer_that_is_named_again_loses_its_note_only(kept: Kept) -> None:
    kept.advance()
    kept.fold()
    kept.change(pins=())
    deep = kept.place.main()
    kept.collect()
    point = Point(deep.branch_id, kept.place.ages.end(deep.layers[:2]))
    manifests.create_branch(kept.world.store, "other", point, deep.layers[:2])  # as was read before
    kept.collect(HOUR_S)
    assert kept.files() == {*deep.layers[:2], deep.tip}
    assert not list(kept.notes.iterdir())


def test_a_pin_that_comes_before_the_cut_is_seen(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.advance(2)
    kept.fold()
    kept.change(pins=())
    deep = kept.place.main().layers
    update = manifests.update_manifest

    def late(*arguments: Any) -> Manifest:
        lsn = kept.place.ages.end(deep[:2])
        kept_by = Pin(PinKind.SNAPSHOT, uuid4(), lsn)
        update(kept.world.store, arguments[1], lambda one: replace(one, pins=(kept_by,)))
        return update(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(manifests, "update_manifest", late)
        kept.collect()
    assert kept.place.main().layers == (deep[0], deep[1], deep[3])
    kept.collect(HOUR_S)
    assert kept.files() == set(kept.place.main().layers)


def test_a_killed_trim_leaves_the_branch_whole_or_trimmed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.advance(2)
    kept.fold()
    kept.change(pins=())
    before = kept.place.main()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(manifests, "update_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            kept.collect()
    assert kept.place.main() == before
    assert list(kept.notes.iterdir())
    kept.restart(Window())  # by now the history is wanted
    kept.change(pins=(Pin(PinKind.SNAPSHOT, uuid4(), kept.place.ages.end(before.layers[:2])),))
    kept.collect()
    kept.collect(HOUR_S)
    assert kept.files() == set(before.layers[:2]) | set(kept.place.main().layers)


def test_what_a_deleted_branch_had_alone_goes(kept: Kept) -> None:
    child, _ = kept.world.branches.create("try", None, "init")
    assert kept.growth.advance(child, Said(Lsn(kept.place.end().value + 8)), quiet)
    child = manifests.read_branch(kept.world.store, "try")
    kept.collector.suspect(child.layers)
    assert [path.name for path in kept.notes.iterdir()] == [str(child.tip)]
    manifests.delete_branch(kept.world.store, "try")
    manifests.end_deleted(kept.world.store, "try", lambda _: None)
    kept.collect()
    kept.collect(HOUR_S)
    assert kept.files() == set(kept.place.main().layers)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_all_that_may_be_opened_can_be(kept: Kept, seed: int) -> None:
    rng = random.Random(seed)
    pgs: list[str] = []
    deleting = Deleting(
        kept.world.store,
        kept.world.restoring.settle,
        lambda gone: kept.collector.suspect(gone.layers),
        lambda _: True,
        lambda: None,
    )

    def pin() -> None:
        lsn = rng.choice([one.consistent for one in kept.place.ages.of(kept.place.main().layers)])
        kept.change(pins=(*kept.place.main().pins, Pin(PinKind.SNAPSHOT, uuid4(), lsn)))

    def unpin() -> None:
        pins = kept.place.main().pins
        kept.change(pins=tuple(one for one in pins if one.kind is PinKind.BRANCH or rng.random() < 0.5))

    def start() -> None:
        name = f"try{len(pgs)}-{rng.randrange(10**6)}"
        main, end = kept.place.main(), kept.place.end()
        layers = stack_of(kept.place.ages.of(main.layers))
        point = Point(main.branch_id, end)
        manifests.create_branch(kept.world.store, name, point, layers)
        kept.world.up(name, name)
        pgs.append(name)

    def stop() -> None:
        if pgs:
            name = pgs.pop(rng.randrange(len(pgs)))
            kept.world.delete(name, discard=True)
            deleting.delete(name, now=rng.random() < 0.5)

    def undelete() -> None:
        if found := deleting.shown():
            deleting.undelete(rng.choice(found).name, None)

    def end() -> None:
        if found := deleting.shown():
            deleting.end(rng.choice(found).name)

    steps: list[Callable[[], None]] = [undelete, end, kept.advance, kept.fold]
    steps += [pin, unpin, start, stop, kept.restart]
    for _ in range(50):
        rng.choice(steps)()
        kept.collect(rng.choice([0.0, 700.0, HOUR_S]))
        _check(kept)


def _check(kept: Kept) -> None:
    there = kept.files()
    stays = manifests.list_branches(kept.world.store) + manifests.deleted_branches(kept.world.store)
    named = {layer for one in stays for layer in one.layers}
    in_use = layers_in_use(kept.world.generations)
    assert in_use is not None
    assert named | in_use <= there
    main = kept.place.main()
    history = kept.place.ages.of(main.layers)
    for one in main.pins:
        assert stack_for(history, one.lsn)
    assert all(LayerFiles.of(kept.place.layers, layer).pages.exists() for layer in stack_of(history))


def test_redo_jobs_remove_what_nobody_needs_and_know_what_is_to_go(kept: Kept) -> None:
    kept.advance(2)
    kept.fold()
    kept.change(pins=())
    store = kept.world.store
    jobs = RedoJobs(lambda: manifests.list_branches(store), FakeWal(), kept.growth, collector=kept.collector)
    main = kept.place.main()
    jobs.look()
    found = leftovers.find(store, kept.world.generations, kept.world.scratch, jobs.layers_in_motion())
    assert jobs.layers_in_motion() == sorted(main.layers[1:-1])
    assert [one for one in found if one.kind == "layer"] == []
    kept.now_s += HOUR_S
    jobs.look()
    assert kept.files() == {main.layers[0], main.tip}
    assert jobs.layers_in_motion() == []


def test_a_branch_that_is_deleted_through_the_service_takes_its_own_layers_along(kept: Kept) -> None:
    jobs = RedoJobs(list, FakeWal(), kept.growth, collector=kept.collector)
    service = service_of(kept.world, jobs)
    child, _ = kept.world.branches.create("try", None, "init")
    assert kept.growth.advance(child, Said(Lsn(kept.place.end().value + 8)), quiet)
    tip = manifests.read_branch(kept.world.store, "try").tip
    for _ in range(2):  # repeat is success
        service.delete_branch("try")
    assert jobs.layers_in_motion() == []
    service.end_deleted("try")
    assert jobs.layers_in_motion() == [tip]
    jobs.look()
    kept.now_s += HOUR_S
    jobs.look()
    assert kept.files() == set(kept.place.main().layers)
