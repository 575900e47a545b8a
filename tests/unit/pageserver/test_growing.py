"""A branch gets a layer, or nothing has changed: also after an error, and after kill -9."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from neon_compose.compute.layout import Tip
from neon_compose.errors import Conflict, Corrupt, NotFound, Unavailable
from neon_compose.layer.history import stack_for
from neon_compose.layer.index import Kind
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.pageserver.growing import Watch
from tests.unit.pageserver.growth import Place, Said, add_delta
from tests.unit.pageserver.storage import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def place(world: World) -> Place:
    return Place(world.store, world.work)


def quiet() -> None:
    pass


def after(place: Place, count: int) -> Lsn:
    return Lsn(place.end().value + count)


def test_replayed_wal_becomes_a_layer_that_the_branch_has_with_its_map(place: Place) -> None:
    before, end = place.main(), after(place, 4096)
    grown = place.growth.advance(before, Said(end), quiet)
    assert grown is not None
    assert place.main().layers == (*before.layers, grown.layer)
    assert place.end() == grown.end == end
    assert grown.wal_bytes >= 4096
    assert (place.work / "maps" / f"{grown.layer}.map").exists()
    assert not list((place.work / "growing").iterdir())


def test_nothing_is_made_without_new_wal_or_without_a_checkpoint_in_it(place: Place) -> None:
    files, main = place.files(), place.main()
    assert place.growth.advance(main, Said(place.end()), quiet) is None
    assert place.replay.done == []
    assert place.growth.advance(main, Said(after(place, 4096), has_checkpoint=False), quiet) is None
    assert place.replay.done == []
    place.replay.finds_checkpoint = False  # none that it can stop at
    assert place.growth.advance(main, Said(after(place, 4096)), quiet) is None
    assert place.files() - files == {f"{main.tip}.map"}
    assert place.main() == main


@pytest.mark.parametrize("failure", [Corrupt("WAL is damaged"), Unavailable("called off"), OSError("disk")])
def test_a_job_that_fails_leaves_the_branch_as_it_was(place: Place, failure: Exception) -> None:
    place.tips.get(place.main().layers)
    files, main = place.files(), place.main()

    def fail(tip: Tip, layer: UUID, _: Watch) -> None:
        add_delta(place.layers, tip.tip, layer, Lsn(1))
        raise failure

    place.replay.during = fail
    with pytest.raises(type(failure)):
        place.growth.advance(main, Said(after(place, 4096)), quiet)
    assert (place.files(), place.main()) == (files, main)


def test_layers_that_changed_meanwhile_win_and_ours_is_gone(place: Place) -> None:
    main = place.main()
    other = UUID(int=99)
    end = after(place, 4096)
    add_delta(place.layers, main.tip, other, end)
    place.tips.get(main.layers)
    files = place.files()

    def change(*_: object) -> None:
        manifests.update_manifest(
            place.store, main.branch_id, lambda one: replace(one, layers=(*one.layers, other))
        )

    place.replay.during = change
    with pytest.raises(Conflict) as caught:
        place.growth.advance(main, Said(end), quiet)
    assert caught.value.code == "layers_changed"
    assert place.main().layers == (*main.layers, other)
    assert place.files() == files


def test_a_branch_that_is_deleted_meanwhile_leaves_nothing(world: World, place: Place) -> None:
    child, _ = world.branches.create("try", None, "init")
    place.tips.get(child.layers)
    files = place.files()
    place.replay.during = lambda *_: manifests.delete_branch(place.store, "try")
    with pytest.raises(NotFound):
        place.growth.advance(child, Said(after(place, 4096)), quiet)
    assert place.files() == files


def test_a_layer_that_may_have_come_to_be_named_is_left_to_the_next_start(
    world: World, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = world.store.put_if

    def answer_lost(key: str, data: bytes, etag: object) -> None:
        put(key, data, etag)  # type: ignore[arg-type]
        raise Unavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "put_if", answer_lost)
        with pytest.raises(Unavailable):
            place.growth.advance(place.main(), Said(after(place, 4096)), quiet)
    assert place.growth.making() == [place.main().tip]
    again = Place(world.store, world.work)
    assert again.growth.making() == []
    assert len(again.main().layers) == 2
    assert again.tips.get(again.main().layers).tip == again.main().tip


def test_what_a_killed_pageserver_was_making_goes_and_what_others_make_stays(
    world: World, place: Place
) -> None:
    place.tips.get(place.main().layers)
    main, mine, others = place.main(), UUID(int=7), UUID(int=8)
    for layer in (mine, others):
        add_delta(place.layers, main.tip, layer, after(place, 8))
    (place.work / "growing" / str(mine)).touch()
    again = Place(world.store, world.work)
    assert {path.stem for path in again.layers.glob("*.index")} == {str(main.tip), str(others)}
    assert again.growth.making() == []


def test_a_folded_stack_shows_the_same_and_older_moments_stay(place: Place) -> None:
    base, ends = place.main(), [place.end()]
    for _ in range(3):
        place.growth.advance(place.main(), Said(after(place, 4096)), quiet)
        ends.append(place.end())
    deep = place.main()
    assert place.growth.depth(deep) == 4
    folded = place.growth.fold(deep, quiet)
    found = place.main()
    assert found.layers == (*deep.layers, folded.layer)
    assert (place.growth.depth(found), place.end()) == (1, ends[-1])
    tip, below = place.tips.get(found.layers), place.tips.get(deep.layers)
    assert tip.layers == (folded.layer,)
    assert (tip.relations, tip.files) == (below.relations, below.files)
    assert (tip.control.raw, tip.end) == (below.control.raw, below.end)
    ages = place.ages.of(found.layers)
    assert ages[-1].kind is Kind.IMAGE
    assert stack_for(ages, ends[0]) == base.layers
    assert stack_for(ages, ends[2]) == deep.layers[:3]
    assert stack_for(ages, ends[3]) == (folded.layer,)


def test_a_compute_stays_on_the_layers_it_was_prepared_with(world: World, place: Place) -> None:
    first = world.prepare("main", "main")
    old = place.main()
    place.growth.advance(old, Said(after(place, 4096)), quiet)
    assert place.main().tip != old.tip
    world.computes.layout("main", first.generation, 5432, {})
    [generation] = world.generations.of("main")
    assert generation.record is not None
    assert generation.record.layers == tuple(map(str, old.layers))
    again = world.prepare("main", "main")
    assert (again.laid_out, again.command) == (True, first.command)


def test_a_record_from_before_its_layers_were_noted_has_those_up_to_its_tip(
    world: World, place: Place
) -> None:
    prepared, old = world.prepare("main", "main"), place.main()
    record = next(world.work.glob("pg/main/*/compute.json"))
    document = json.loads(record.read_text())
    del document["layers"]
    record.write_text(json.dumps(document))
    place.growth.advance(old, Said(after(place, 4096)), quiet)
    world.computes.layout("main", prepared.generation, 5432, {})
    [generation] = world.generations.of("main")
    assert generation.record is not None
    assert generation.record.layers == tuple(map(str, old.layers))
