"""Prepare, layout, open, delete: what holds after each, after kill -9 in between, and after a power cut."""

from __future__ import annotations

import errno
import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neon_compose.compute.command import GATE_HBA, OPEN_HBA
from neon_compose.errors import Conflict, Corrupt, NotFound, TimedOut
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Writer
from neon_compose.postgres.control import ControlFile, DbState
from tests.unit.objectstore.samples import CLUSTER, refresh_main
from tests.unit.pageserver.storage import FakeSession, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(code: str, call: Callable[[], object]) -> Conflict:
    with pytest.raises(Conflict) as caught:
        call()
    assert caught.value.code == code
    return caught.value


# ---- prepare


def test_prepare_makes_branch_claim_and_folder_and_repeats(world: World) -> None:
    first = world.prepare("try1", "try1", moment="init")
    again = world.prepare("try1", "try1", moment="init")
    assert (first.created_branch, again.created_branch) == (True, False)
    assert first.generation == again.generation
    assert world.branches.find("try1").writer == Writer("try1", first.generation)
    assert first.needs_layout
    assert not first.laid_out
    assert f"NEON_SHIM_MAP=/neon/maps/{first.tip}.map" in first.command


def test_a_second_pg_on_a_branch_is_refused_also_while_the_first_never_ran(world: World) -> None:
    world.prepare("one", "main")
    error = refused("writer", lambda: world.prepare("two", "main"))
    assert "pg destroy one" in error.hint
    assert world.generations.of("two") == []


def test_a_pg_keeps_its_branch(world: World) -> None:
    world.prepare("one", "main")
    refused("other_branch", lambda: world.prepare("one", "b", moment="init"))
    with pytest.raises(NotFound):
        world.branches.find("b")


def test_an_unknown_branch_leaves_no_folder(world: World) -> None:
    with pytest.raises(NotFound):
        world.prepare("one", "nope")
    assert world.generations.of("one") == []


def test_a_folder_that_no_manifest_came_to_name_is_used_by_the_next_prepare(world: World) -> None:
    left = world.generations.make("one", "0123456789ab")
    assert world.prepare("one", "main").generation == left.id


def test_a_folder_that_a_manifest_names_is_kept_although_its_write_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document is renamed first and its folder synced then: it may be there although that failed."""
    update = manifests.update_manifest

    def fails(*args: Any) -> None:
        update(*args)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(manifests, "update_manifest", fails)
        with pytest.raises(OSError, match="Input/output"):
            world.prepare("one", "main")
    writer = world.branches.find("main").writer
    assert writer is not None
    assert world.prepare("one", "main").generation == writer.generation


def test_a_claim_without_record_is_prepared_again(world: World) -> None:
    generation = world.prepare("one", "main").generation
    world.generations.paths("one", generation).record.unlink()
    assert world.prepare("one", "main").generation == generation


def test_a_lost_folder_is_an_error_and_never_a_fresh_start(world: World) -> None:
    generation = world.up("one", "main")
    assert world.settler.idle(10)  # else its marker appears while the folder goes
    shutil.rmtree(world.generations.paths("one", generation).root)
    refused("data_lost", lambda: world.prepare("one", "main"))
    refused("data_lost", lambda: world.delete("one"))
    world.delete("one", discard=True)
    assert world.branches.find("main").writer is None


def test_opened_data_that_its_branch_does_not_name_is_refused(world: World) -> None:
    world.up("one", "main")
    world.claims.release("one")  # a destroy that was killed here, or an older copy of the storage
    refused("unclaimed", lambda: world.prepare("one", "main"))


def test_data_nobody_wrote_to_and_no_branch_names_is_replaced(world: World) -> None:
    old = world.prepare("one", "main").generation
    world.computes.layout("one", old, 5432, {})
    world.claims.release("one")
    assert world.prepare("one", "main").generation != old


# ---- layout


def test_layout_makes_every_file_sparse_and_of_the_right_size(world: World) -> None:
    generation = world.prepare("one", "main").generation
    laid_out = world.computes.layout("one", generation, 5433, {"work_mem": "8MB"})
    data = world.generations.paths("one", generation).data
    assert laid_out.files == 4
    assert (data / "base/5/1259").stat().st_size == 2 * 8192
    assert (data / "base/5/1259").stat().st_blocks == 0
    assert (data / "base/5/16384").stat().st_size == 0
    assert (data / "pg_wal/archive_status").is_dir()
    assert (data / "global/pg_control.neon").exists()
    assert not (data / "global/pg_control").exists()
    assert (data / "pg_hba.conf").read_text() == GATE_HBA
    conf = (data / "postgresql.conf").read_text()
    assert "port = '5433'" in conf
    assert "work_mem = '8MB'" in conf


def test_a_layout_that_was_killed_is_made_anew(world: World) -> None:
    prepared = world.prepare("one", "main")
    paths = world.generations.paths("one", prepared.generation)
    (paths.data / "base").mkdir(parents=True)
    (paths.data / "base/half").write_text("x")
    paths.marker.write_text("boot-1")  # can't be, but would be fatal over new files
    world.disk_works = False
    world.computes.layout("one", prepared.generation, 5432, {})
    assert not (paths.data / "base/half").exists()
    assert not paths.marker.exists()


def test_a_later_layout_keeps_data_and_closes_the_gate(world: World) -> None:
    generation = world.up("one", "main")
    data = world.generations.paths("one", generation).data
    (data / "postmaster.pid").write_text("1\n")
    (data / "postgresql.auto.conf").write_text("port = '1'\nwork_mem = '9MB'\n")
    (data / "base/5/1259").write_bytes(b"mine" * 2048)
    assert world.computes.layout("one", generation, 5434, {}).files == 0
    assert not (data / "postmaster.pid").exists()
    assert (data / "pg_hba.conf").read_text() == GATE_HBA
    assert (data / "postgresql.auto.conf").read_text() == "work_mem = '9MB'\n"
    assert (data / "base/5/1259").read_bytes() == b"mine" * 2048


def test_layout_and_delete_are_refused_while_a_postmaster_holds_the_overlay(world: World) -> None:
    generation = world.up("one", "main")
    with world.generations.paths("one", generation).overlay.open("r+b") as overlay:
        fcntl.flock(overlay, fcntl.LOCK_EX)
        refused("running", lambda: world.computes.layout("one", generation, 5432, {}))
        refused("running", lambda: world.delete("one", discard=True))
    assert world.branches.find("main").writer is not None


def test_layout_of_another_generation_is_not_found(world: World) -> None:
    world.prepare("one", "main")
    with pytest.raises(NotFound):
        world.computes.layout("one", "ffffffffffff", 5432, {})


# ---- open


def test_open_waits_for_the_server_and_lets_clients_in(world: World) -> None:
    prepared = world.prepare("one", "main")
    world.computes.layout("one", prepared.generation, 5432, {})
    paths = world.generations.paths("one", prepared.generation)
    world.sessions[str(paths.root)] = FakeSession(paths, world.doc.system_identifier, refusals=3)
    opened = world.computes.open("one", prepared.generation, "10.0.0.9", 5432, 5.0, world.doc)
    assert not opened.recovered
    assert (paths.data / "pg_hba.conf").read_text() == OPEN_HBA
    assert world.computes.status("one").opened
    assert world.sessions[str(paths.root)].closed


def test_open_repeats(world: World) -> None:
    generation = world.up("one", "main")
    assert world.computes.open("one", generation, "10.0.0.9", 5432, 5.0, world.doc).lsn


def test_a_server_that_never_comes_up_is_a_timeout_with_its_last_words(world: World) -> None:
    prepared = world.prepare("one", "main")
    world.computes.layout("one", prepared.generation, 5432, {})
    paths = world.generations.paths("one", prepared.generation)
    world.sessions[str(paths.root)] = FakeSession(paths, 1, refusals=10**6)
    with pytest.raises(TimedOut) as caught:
        world.computes.open("one", prepared.generation, "10.0.0.9", 5432, 0.05, world.doc)
    assert "starting up" in caught.value.detail


@pytest.mark.parametrize(
    "change", [{"identifier": 42}, {"checkpoint": Lsn(0x100)}, {"checkpoint": Lsn(0xFFFFFFFF)}]
)
def test_a_server_that_is_not_what_its_control_file_promised_stays_closed(
    world: World, change: dict[str, object]
) -> None:
    prepared = world.prepare("one", "main")
    world.computes.layout("one", prepared.generation, 5432, {})
    paths = world.generations.paths("one", prepared.generation)
    session = FakeSession(paths, world.doc.system_identifier)
    for name, value in change.items():
        setattr(session, name, value)
    world.sessions[str(paths.root)] = session
    with pytest.raises(Corrupt):
        world.computes.open("one", prepared.generation, "10.0.0.9", 5432, 5.0, world.doc)
    assert (paths.data / "pg_hba.conf").read_text() == GATE_HBA
    assert not world.computes.status("one").opened


def test_a_checkpoint_the_server_made_itself_since_its_start_is_right(world: World) -> None:
    prepared = world.prepare("one", "main")
    world.computes.layout("one", prepared.generation, 5432, {})
    paths = world.generations.paths("one", prepared.generation)
    world.sessions[str(paths.root)] = FakeSession(
        paths, world.doc.system_identifier, checkpoint=Lsn(0xFFFFFFFF), checkpoint_age_s=-5
    )
    world.computes.open("one", prepared.generation, "10.0.0.9", 5432, 5.0, world.doc)
    assert (paths.data / "pg_hba.conf").read_text() == OPEN_HBA


def test_a_killed_server_is_said_to_have_recovered(world: World) -> None:
    generation = world.up("one", "main")
    control = world.generations.paths("one", generation).control
    control.write_bytes(ControlFile.read(control).patched(state=DbState.IN_PRODUCTION).raw)
    world.computes.layout("one", generation, 5432, {})
    assert world.computes.open("one", generation, "10.0.0.9", 5432, 5.0, world.doc).recovered


# ---- writes, branches, delete


def test_a_compute_without_commits_has_no_writes_and_can_go(world: World) -> None:
    world.up("try1", "try1", moment="init")
    assert not world.computes.status("try1").has_writes
    world.delete("try1")
    world.delete("try1")
    manifests.delete_branch(world.store, "try1")
    assert [one.name for one in world.branches.show_all()] == ["main"]
    assert list(world.scratch.iterdir()) == []


def test_a_compute_with_writes_goes_only_when_told_to(world: World) -> None:
    world.up("one", "main")
    world.commit("one")
    assert world.computes.status("one").has_writes
    refused("has_writes", lambda: world.delete("one"))
    world.delete("one", discard=True)
    assert world.generations.pgs() == []


def test_a_branch_from_a_branch_with_writes_is_refused_with_the_moments_that_exist(world: World) -> None:
    world.up("one", "main")
    world.prepare("b1", "b1", from_branch="main")
    world.commit("one")
    error = refused("source_has_writes", lambda: world.prepare("b2", "b2", from_branch="main"))
    assert "init" in error.hint
    assert world.generations.of("b2") == []
    assert world.prepare("b3", "b3", from_branch="main", moment="init").created_branch
    assert not world.prepare("b1", "b1", from_branch="main").created_branch


def test_a_branch_shows_its_parent_snapshot_and_writer(world: World) -> None:
    world.up("try1", "try1", moment="init")
    [_, branch] = world.branches.show_all()
    assert (branch.name, branch.parent, branch.snapshot, branch.writer) == ("try1", "main", "init", "try1")


# ---- after a refresh


def refresh(world: World) -> None:
    refresh_main(world.store, world.branches.find("main").layers)


def test_a_compute_must_be_its_own_branchs_cluster(world: World) -> None:
    world.up("old", "old", from_branch="main")
    refresh(world)
    generation = world.prepare("new", "main").generation
    world.computes.layout("new", generation, 5432, {})
    paths = world.generations.paths("new", generation)
    with pytest.raises(Corrupt, match="another cluster"):
        world.computes.open("new", generation, "10.0.0.9", 5432, 1.0, world.doc)
    world.sessions[str(paths.root)] = FakeSession(paths, CLUSTER.system_identifier)
    world.computes.open("new", generation, "10.0.0.9", 5432, 1.0, world.doc)
    world.up("old", "old")


def test_moments_of_before_a_refresh_are_on_mains_ancestry(world: World) -> None:
    refresh(world)
    old, _ = world.branches.create("old", "main", "init")
    new, _ = world.branches.create("new", "main", None)
    assert (old.cluster, new.cluster) == (None, CLUSTER)
    assert [world.branches.show(one).parent for one in (old, new)] == ["main", "main"]
    assert {one.name: one.branch for one in world.branches.show_snapshots()} == {
        "init": "main",
        "import": "main",
    }


def test_a_pg_that_read_mains_name_before_a_refresh_does_not_get_the_old_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = world.branches.find

    def find_and_refresh(name: str) -> Manifest:
        found = find(name)
        if found.successor is None and len(manifests.read_eras(world.store, "main")) == 1:
            refresh_main(world.store, found.layers)
        return found

    monkeypatch.setattr(world.branches, "find", find_and_refresh)
    refused("branch_refreshed", lambda: world.prepare("shop", "main"))
    assert world.generations.ids("shop") == []
    world.prepare("shop", "main")
