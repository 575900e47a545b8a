"""What is told of computes, and decided by it: cheap to ask, and never a wrong "it has no writes"."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

import pytest

from neon_compose.errors import Conflict, NotFound
from neon_compose.objectstore.documents import Writer
from tests.unit.pageserver.storage import END_OF_WAL, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_list_of_computes_that_did_not_change_reads_no_wal_and_walks_no_folder(world: World) -> None:
    world.now_ns = lambda: time.time_ns() + 3600 * 10**9
    world.start()
    world.waldump(f'echo asked >> "{world.tmp_path}/asked"; {END_OF_WAL}')
    names = [f"pg{n}" for n in range(20)]
    for name in names:
        world.up(name, name, moment="init")
    assert world.settler.idle(5.0)
    assert [one.pg for one in world.computes.statuses()] == sorted(names)
    (world.tmp_path / "asked").unlink()
    world.walks.clear()
    assert not any(one.has_writes for one in world.computes.statuses())
    assert not (world.tmp_path / "asked").exists()
    assert world.walks == []
    world.commit("pg7")
    assert [one.pg for one in world.computes.statuses() if one.has_writes] == ["pg7"]
    assert [path.parent.name for path in world.walks] == ["pg7"]


def test_a_compute_that_is_destroyed_while_it_is_listed_is_left_out(world: World) -> None:
    world.up("one", "main")
    world.up("two", "two", moment="init")
    [generation] = world.generations.of("one")
    world.walk_hook = lambda folder: folder == generation.paths.root and world.delete("one", discard=True)
    generation.paths.overlay.touch()
    assert [one.pg for one in world.computes.statuses()] == ["two"]
    with pytest.raises(NotFound) as caught:
        world.computes.status("one")
    assert caught.value.code == "no_compute"


def test_a_commit_right_before_the_last_server_ends_keeps_the_data(world: World) -> None:
    """The writes are looked for only once nobody can make any more."""
    world.up("one", "main")
    [generation] = world.generations.of("one")
    world.waldump(f'touch "{world.tmp_path}/asked"; {END_OF_WAL}')
    with generation.paths.overlay.open("r+b") as server:
        fcntl.flock(server, fcntl.LOCK_EX)
        with pytest.raises(Conflict) as caught:
            world.delete("one")
    assert caught.value.code == "running"
    assert not (world.tmp_path / "asked").exists()


def test_a_branch_whose_data_is_lost_counts_as_having_writes(world: World) -> None:
    generation = world.up("one", "main")
    world.lose("one")
    assert world.computes.writer_has_writes(Writer("one", generation))
    with pytest.raises(Conflict) as caught:
        world.prepare("b1", "b1", from_branch="main")
    assert caught.value.code == "source_has_writes"
