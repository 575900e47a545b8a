from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from neon_compose.controller import pgs, stack, storages
from neon_compose.controller.probe import created_probe
from neon_compose.engine.runtime import ContainerSpec, Kind
from neon_compose.errors import Invalid, Unavailable
from neon_compose.model.states import PgState, StorageType, Wanted
from neon_compose.wire.ndjson import Step
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StackIn, StorageIn
from tests.site import Fixture

CONFIG: dict[str, Any] = {
    "name": "t",
    "minio": False,
    "storages": {"main": {}},
    "pgs": {"main": {"storage_name": "main"}, "dev": {"storage_name": "main", "from": "main@init"}},
}


def up(fixture: Fixture, config: dict[str, Any] = CONFIG, *, prune: bool = False) -> list[str]:
    """Bring it up; the titles of its problems."""
    out = stack.apply(fixture.site, StackIn(config=config, prune=prune))
    return [str(problem["title"]) for problem in out.problems]


def down(fixture: Fixture) -> None:
    """As `down` does: stop, then remove containers and networks."""
    stack.stop(fixture.site)
    for name in list(fixture.engine.boxes):
        fixture.engine.remove(Kind.CONTAINER, name)
    for name in list(fixture.engine.nets):
        fixture.engine.remove(Kind.NETWORK, name)


def test_a_stack_file_is_brought_up_and_again_changes_nothing(bare: Fixture) -> None:
    assert up(bare) == []
    assert {name for name in bare.engine.boxes if bare.engine.running(name)} == {
        "t_safekeeper_1",
        "t_storage_main",
        "t_pod_0",
        "t_pg_main",
        "t_pg_dev",
    }
    before = bare.world()
    assert up(bare) == []
    assert bare.world() == before


def test_a_wrong_stack_file_is_refused_with_all_its_problems_before_anything_happens(bare: Fixture) -> None:
    before = bare.world()
    wrong = {"pgs": {"a": {"storage_name": "nowhere"}}, "colour": "red"}
    with pytest.raises(Invalid) as caught:
        up(bare, wrong)
    assert "nowhere" in caught.value.detail
    assert "colour" in caught.value.detail
    assert bare.world() == before


def test_one_pg_that_fails_does_not_keep_the_others_down(bare: Fixture) -> None:
    config = CONFIG | {"pgs": {"bad": {"storage_name": "main", "from": "main@nope"}, **CONFIG["pgs"]}}
    (problem,) = up(bare, config)
    assert problem.startswith("pg bad: ")
    assert bare.engine.running("t_pg_main")
    assert bare.engine.running("t_pg_dev")


def test_after_down_everything_that_was_wanted_is_back(bare: Fixture) -> None:
    up(bare)
    pgs.act(bare.site, "dev", PgAction(action=PgVerb.STOP))
    ports = {name: doc.port for name, doc in bare.site.documents.read().pgs.items()}
    down(bare)
    assert bare.engine.contents()[:2] == ({}, set())
    site = bare.again()
    stack.bring_back(site)
    assert bare.engine.running("t_pg_main")
    assert not bare.engine.running("t_pg_dev")
    assert {name: doc.port for name, doc in site.documents.read().pgs.items()} == ports
    assert site.ready.is_set()
    assert site.problems == []


def test_a_killed_controller_comes_back_knowing_everything(bare: Fixture) -> None:
    up(bare)
    bare.engine.end("t_pg_dev")
    before = bare.site.documents.read()
    site = bare.again()
    assert {one.name: one.state for one in pgs.list_all(site)} == {
        "dev": PgState.FAILED,
        "main": PgState.RUNNING,
    }
    stack.bring_back(site)
    assert site.documents.read() == before
    assert bare.engine.running("t_pg_dev")


def test_a_start_right_after_a_controllers_restart_waits_for_what_that_finishes(bare: Fixture) -> None:
    """Its stop was written down, and cut off by the controller's death."""
    up(bare)
    dev = bare.site.documents.read().pgs["dev"]
    bare.site.documents.put(dev.model_copy(update={"wanted": Wanted.STOPPED}))
    site = bare.again()
    stopping, go_on, real = threading.Event(), threading.Event(), bare.engine.stop

    def stop(name: str, timeout_s: float) -> None:
        stopping.set()
        assert go_on.wait(10)
        real(name, timeout_s)

    bare.engine.stop = stop  # type: ignore[method-assign]
    with ThreadPoolExecutor() as pool:
        back = pool.submit(stack.bring_back, site)
        assert stopping.wait(10)
        started = pool.submit(pgs.act, site, "dev", PgAction(action=PgVerb.START))
        assert not wait((started,), 0.1).done
        go_on.set()
        started.result(10)
        back.result(10)
    assert bare.engine.running("t_pg_dev")
    assert site.problems == []


def test_an_attach_that_a_crash_cut_off_is_undone(bare: Fixture) -> None:
    up(bare)
    bare.engine.host_path("/dump").write_bytes(b"PGDMP")
    doc = bare.site.documents.read().storages["main"]
    half = doc.model_copy(update={"name": "shop", "attaching": True, "made": True, "fresh": True})
    bare.site.documents.put(half)
    before = set(bare.engine.boxes)
    site = bare.again()
    stack.bring_back(site)
    assert set(site.documents.read().storages) == {"main"}
    assert set(bare.engine.boxes) == before


def test_a_probe_that_a_crash_left_is_swept(bare: Fixture) -> None:
    up(bare)
    before = set(bare.engine.boxes)
    left = created_probe(bare.engine, "t", ContainerSpec(name="", image="x"))
    left.__enter__()
    assert set(bare.engine.boxes) != before
    stack.bring_back(bare.again())
    assert set(bare.engine.boxes) == before


def test_stopping_is_in_order_and_keeps_what_is_wanted(bare: Fixture) -> None:
    up(bare)
    seen: list[Step] = []
    stack.stop(bare.site, seen.append)
    order = [step.name.removeprefix("stop container ") for step in seen if "container" in step.name]
    kinds = list(dict.fromkeys(name.split("_")[1] for name in order))
    assert kinds == ["pg", "storage", "safekeeper", "pod"]
    assert all(doc.wanted is Wanted.RUNNING for doc in bare.site.documents.read().pgs.values())
    with pytest.raises(Unavailable, match="stopped"):
        pgs.put(bare.site, PgIn(name="x", storage_name="main"))
    assert up(bare) == []
    assert bare.engine.running("t_pg_main")


def test_what_the_file_lacks_stays_unless_pruned(bare: Fixture) -> None:
    up(bare)
    storages.attach(bare.site, StorageIn(name="shop", type=StorageType.NATIVE))
    pgs.put(bare.site, PgIn(name="web", storage_name="shop", start=True))
    pgs.put(bare.site, PgIn(name="wet", storage_name="main", from_="main@init", start=True))
    bare.pageservers.store("main").computes["wet"].has_writes = True
    assert up(bare) == []
    assert bare.engine.running("t_pg_web")
    (problem,) = up(bare, prune=True)
    assert problem.startswith("prune pg wet: ")
    desired = bare.site.documents.read()
    assert set(desired.pgs) == {"main", "dev", "wet"}
    assert set(desired.storages) == {"main"}


def test_a_newer_image_replaces_the_pageserver_and_asks_for_a_restart_of_computes(bare: Fixture) -> None:
    up(bare)
    images = {"pageserver": "neon-compose-pageserver:2", "compute": "neon-compose-compute:2"}
    stack.apply(bare.site, StackIn(config=CONFIG, images=images))
    assert bare.engine.boxes["t_storage_main"].spec.image == "neon-compose-pageserver:2"
    assert bare.engine.boxes["t_pg_main"].spec.image == "neon-compose-compute:1"
    assert pgs.show(bare.site, "main").restart_needed
    pgs.act(bare.site, "main", PgAction(action=PgVerb.RESTART))
    assert not pgs.show(bare.site, "main").restart_needed


def test_an_engine_side_dump_is_imported(bare: Fixture) -> None:
    bare.engine.host_path("/dump").write_bytes(b"PGDMP" + b"x" * 3_000_000)
    storages.attach(bare.site, StorageIn(name="shop", type=StorageType.NATIVE, import_="/dump"))
    store = bare.pageservers.store("shop")
    assert len(store.imported) == 3_000_005
    assert set(store.snapshots) == {"import"}
    folder = bare.engine.host_path("/folder")
    folder.mkdir()
    (folder / "toc.dat").write_bytes(b"toc")
    storages.attach(bare.site, StorageIn(name="crm", type=StorageType.NATIVE, import_="/folder"))
    assert b"toc.dat" in bare.pageservers.store("crm").imported
    assert not any("probe" in name for name in bare.engine.boxes)
