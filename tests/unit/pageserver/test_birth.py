"""A storage is made whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.layer.pack import LayerFiles
from neon_compose.layer.verify import check_layer
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Writer
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver import content
from neon_compose.pageserver.birth import Birth
from neon_compose.postgres.server import ScratchPostgres
from neon_compose.wire import ndjson
from tests.unit.layer.pgdata import END
from tests.unit.pageserver.scratch import make_birth, quiet_job, recording_job


def fill(_: ScratchPostgres) -> str:
    return "shop"


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_initialise_makes_main_and_the_snapshot_init_at_the_clean_stop(tmp_path: Path) -> None:
    birth, store, scratch = make_birth(tmp_path)
    doc = birth.initialise(quiet_job())
    main = manifests.read_branch(store, "main")
    snapshot = manifests.read_snapshot(store, "init")
    assert (doc.default_database, doc.postgres_major) == ("postgres", 17)
    assert (snapshot.ref.branch_id, snapshot.ref.lsn) == (main.branch_id, END)
    files = LayerFiles.of(store.local_path("layers"), main.tip)
    assert check_layer(files.pages, files.index, files.meta).consistent == END
    assert everything_in(scratch) == []


def test_initialising_twice_keeps_the_first_storage(tmp_path: Path) -> None:
    birth, _, _ = make_birth(tmp_path)
    assert birth.initialise(quiet_job()).storage_id == birth.initialise(quiet_job()).storage_id


def test_an_import_names_its_default_database_and_the_snapshot_import(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    assert birth.bring(content.of_dump(fill), quiet_job()).default_database == "shop"
    assert [one.name for one in manifests.list_snapshots(store)] == ["import"]


def test_an_import_tells_its_steps_with_times(tmp_path: Path) -> None:
    birth, _, _ = make_birth(tmp_path)
    steps: list[ndjson.Step] = []
    birth.bring(content.of_dump(fill), recording_job(steps))
    done = [step.name for step in steps if step.state == "done" and step.ms is not None]
    assert done == ["initdb", "vacuum", "checkpoint", "pack", "publish"]


@pytest.mark.parametrize("step", ["initdb", "start minimal", "vacuumdb", "start replica", "stop"])
def test_a_failure_at_any_step_leaves_nothing(tmp_path: Path, step: str) -> None:
    birth, store, scratch = make_birth(tmp_path, die_at=step)
    with pytest.raises(RuntimeError):
        birth.bring(content.of_dump(fill), quiet_job())
    assert everything_in(store.root) == []
    assert everything_in(scratch) == []


def test_a_cancelled_import_leaves_nothing(tmp_path: Path) -> None:
    birth, store, scratch = make_birth(tmp_path)
    job = quiet_job()

    def fill_and_leave(_: ScratchPostgres) -> str:
        job.cancel()
        return "shop"

    with pytest.raises(Unavailable, match="cancelled"):
        birth.bring(content.of_dump(fill_and_leave), job)
    assert everything_in(store.root) == []
    assert everything_in(scratch) == []


def test_layers_of_a_killed_import_are_swept_before_the_next(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    birth.bring(content.of_dump(fill), quiet_job())
    store.delete("storage.json")  # as if the power had failed just before it
    assert not birth.is_done()
    birth.sweep()
    assert everything_in(store.root) == []


def test_a_storage_cut_off_after_storage_json_is_finished_not_swept(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    birth.bring(content.of_dump(fill), quiet_job())
    birth.sweep()
    assert manifests.read_branch(store, "main").layers


def test_an_import_over_a_storage_is_refused(tmp_path: Path) -> None:
    birth, _, _ = make_birth(tmp_path)
    birth.initialise(quiet_job())
    with pytest.raises(Conflict) as caught:
        birth.bring(content.of_dump(fill), quiet_job())
    assert caught.value.code == "storage_exists"


def test_a_folder_with_foreign_files_is_refused_and_kept(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    (store.root / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(Conflict) as caught:
        birth.initialise(quiet_job())
    assert caught.value.code == "not_empty"
    assert everything_in(store.root) == ["holiday.jpg"]


def test_only_one_makes_a_storage_at_a_time(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    with LocalStore(store.root).creating(), pytest.raises(Conflict) as caught:
        birth.initialise(quiet_job())
    assert caught.value.code == "busy"
    with pytest.raises(NotFound):
        manifests.read_storage(store)


def refresh(birth: Birth) -> None:
    birth.refresh(content.of_dump(lambda _: "crm"), quiet_job())


def files(store: LocalStore) -> list[str]:
    """What is in the store, without the locks."""
    return [key for folder in ("", "layers/", "branches/", "refs/") for key in store.list(folder)]


def test_a_refresh_gives_main_another_content_and_keeps_what_it_was(tmp_path: Path) -> None:
    birth, store, scratch = make_birth(tmp_path)
    doc = birth.bring(content.of_dump(fill), quiet_job())
    old = manifests.read_branch(store, "main")
    refresh(birth)
    new = manifests.read_branch(store, "main")
    assert [one.name for one in manifests.list_snapshots(store)] == ["import", "import-2"]
    assert new.cluster is not None
    assert (doc.default_database, new.cluster.default_database) == ("shop", "crm")
    assert manifests.read_storage(store).admin_password == doc.admin_password
    for one in (old, new):
        layer = LayerFiles.of(store.local_path("layers"), one.tip)
        assert check_layer(layer.pages, layer.index, layer.meta).consistent == END
    assert everything_in(scratch) == []


def test_without_a_storage_there_is_nothing_to_refresh(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    with pytest.raises(NotFound) as caught:
        refresh(birth)
    assert caught.value.code == "no_storage"
    assert files(store) == []


@pytest.mark.parametrize("step", ["initdb", "start minimal", "vacuumdb", "start replica", "stop"])
def test_a_refresh_that_fails_leaves_all_as_it_was(tmp_path: Path, step: str) -> None:
    birth, store, _ = make_birth(tmp_path)
    birth.initialise(quiet_job())
    before = files(store)
    failing, _, scratch = make_birth(tmp_path, die_at=step)
    with pytest.raises(RuntimeError):
        refresh(failing)
    assert files(store) == before
    assert everything_in(scratch) == []
    refresh(birth)
    assert [one.name for one in manifests.list_snapshots(store)] == ["import", "init"]


def test_a_refresh_is_refused_before_anything_is_made_while_a_pg_has_main(tmp_path: Path) -> None:
    birth, store, _ = make_birth(tmp_path)
    birth.initialise(quiet_job())
    main = manifests.read_branch(store, "main")
    manifests.update_manifest(store, main.branch_id, lambda one: replace(one, writer=Writer("shop", "g")))
    with pytest.raises(Conflict) as caught:
        birth.refuse_unless_refreshable()
    assert (caught.value.code, "pg destroy -n shop" in caught.value.hint) == ("branch_in_use", True)
    with pytest.raises(Conflict):
        refresh(birth)
    assert not birth.is_cut_off()
