"""What a generation is good for: after a sync, without one, after a failed one, after a power cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from neon_compose.compute import record as records
from neon_compose.compute.record import Record, Stage
from neon_compose.errors import Conflict
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Writer
from tests.unit.pageserver.storage import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(Conflict) as caught:
        call()
    assert caught.value.code == code


def test_the_marker_comes_after_a_sync_of_the_work_volume(world: World) -> None:
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    assert world.synced
    assert world.generations.paths("one", generation).marker.read_text() == "boot-1\n"
    assert not world.computes.status("one").settling


def test_without_a_working_sync_a_compute_stays_settling(world: World) -> None:
    world.disk_works = False
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    assert world.computes.status("one").settling
    world.disk_works = True
    world.computes.layout("one", generation, 5432, {})  # a start, which makes nothing anew
    assert world.settler.idle(5.0)
    assert world.computes.status("one").settling


def reboot(world: World, generation: str, stage: Stage) -> Record:
    """Another boot; the generation's files may or may not be there, its marker is not."""
    world.boot = "boot-2"
    paths = world.generations.paths("one", generation)
    paths.marker.unlink(missing_ok=True)
    record = records.read(paths.record)
    assert record is not None
    assert record.stage is stage
    world.start()
    return record


def test_a_doubtful_layout_nobody_wrote_to_is_laid_out_again(world: World) -> None:
    generation = world.prepare("one", "main").generation
    world.disk_works = False
    world.computes.layout("one", generation, 5432, {})
    reboot(world, generation, Stage.LAID_OUT)
    world.computes.resume()
    assert world.settler.idle(5.0)
    assert world.computes.status("one").doubtful
    prepared = world.prepare("one", "main")
    assert prepared.generation == generation
    assert prepared.needs_layout


def test_doubtful_data_clients_wrote_to_is_refused_and_kept(world: World) -> None:
    world.disk_works = False
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    reboot(world, generation, Stage.OPENED)
    refused("doubtful", lambda: world.prepare("one", "main"))
    refused("doubtful", lambda: world.delete("one"))
    assert world.generations.has("one", generation)


def set_back(world: World, generation: str) -> None:
    """What a power cut does to a record that wasn't synced: the one before is there again."""
    path = world.generations.paths("one", generation).record
    record = records.read(path)
    assert record is not None
    records.write(path, replace(record, stage=Stage.LAID_OUT))


def test_commits_count_also_where_the_record_was_set_back_by_a_power_cut(world: World) -> None:
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    world.commit("one")
    set_back(world, generation)
    world.boot = "boot-2"
    world.start()
    assert world.computes.status("one").has_writes
    refused("has_writes", lambda: world.delete("one"))


def test_doubtful_data_with_commits_is_kept_also_where_its_record_was_set_back(world: World) -> None:
    world.disk_works = False
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    world.commit("one")
    set_back(world, generation)
    reboot(world, generation, Stage.LAID_OUT)
    refused("doubtful", lambda: world.prepare("one", "main"))
    refused("doubtful", lambda: world.delete("one"))
    assert world.generations.has("one", generation)


@pytest.mark.parametrize("torn", [b"", b"{", json.dumps({"format": 9}).encode()])
def test_a_torn_record_over_data_is_doubtful(world: World, torn: bytes) -> None:
    generation = world.up("one", "main")
    world.generations.paths("one", generation).record.write_bytes(torn)
    refused("doubtful", lambda: world.prepare("one", "main"))
    assert world.computes.writer_has_writes(Writer("one", generation))
    assert [one.doubtful for one in world.computes.statuses()] == [True]
    world.delete("one", discard=True)
    assert manifests.read_branch(world.store, "main").writer is None


def test_a_marked_compute_survives_another_boot(world: World) -> None:
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    world.boot = "boot-2"
    world.start()
    assert world.prepare("one", "main").laid_out
    assert world.computes.layout("one", generation, 5432, {}).files == 0


def test_a_restarted_pageserver_settles_what_its_dead_one_did_not(world: World) -> None:
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    marker = world.generations.paths("one", generation).marker
    marker.unlink()
    world.start()
    world.computes.resume()
    assert world.settler.idle(5.0)
    assert marker.exists()


def test_a_restarted_pageserver_marks_nothing_whose_sync_failed_under_its_dead_one(world: World) -> None:
    world.disk_works = False
    generation = world.up("one", "main")
    assert world.settler.idle(5.0)
    world.disk_works = True
    world.start()
    world.computes.resume()
    assert world.settler.idle(5.0)
    assert world.synced
    assert not world.generations.paths("one", generation).marker.exists()
