"""What is there and shouldn't be is listed; what belongs there, or is being worked on, is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from neon_compose import durable
from neon_compose.controller import leftovers, pgs, specs, storages
from neon_compose.engine.labels import component_labels, resource_labels
from neon_compose.engine.runtime import ContainerSpec, Kind, NetworkSpec, VolumeSpec
from neon_compose.model.states import Component, StorageType
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageIn
from tests.fakes_pageserver import _Compute
from tests.site import STACK, Fixture


def found(fixture: Fixture) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in leftovers.find(fixture.site)]


@pytest.fixture
def used(shop: Fixture) -> Fixture:
    """A safekeeper, a pg that runs, a stopped one, a created one, and a storage that was detached."""
    shop.bring_safekeepers(1)
    for name, start in (("runs", True), ("stopped", True), ("created", False)):
        pgs.put(shop.site, PgIn(name=name, storage_name="shop", from_="shop@init", start=start))
    pgs.act(shop.site, "stopped", PgAction(action=PgVerb.STOP))
    storages.attach(shop.site, StorageIn(name="gone", type=StorageType.NATIVE))
    storages.detach(shop.site, "gone", purge=False)
    shop.site.workers.shutdown(wait=True)  # no pod is tidied away under the test's hands
    shop.site.workers = ThreadPoolExecutor(4)
    return shop


def test_a_stack_in_use_has_no_leftovers(used: Fixture) -> None:
    assert found(used) == []


def container(fixture: Fixture, name: str, component: Component | None, **more: str) -> None:
    marks = component_labels(STACK, component, **more) if component else resource_labels(STACK)
    fixture.engine.create(ContainerSpec(name, "image", component, marks))


def two_idle_pods(fixture: Fixture) -> None:
    for number, ports in ((7, "20000-20015"), (8, "20016-20031")):
        container(fixture, f"t_pod_{number}", Component.POD, pod=str(number), ports=ports)


def aside_of_a_dead_writer(fixture: Fixture) -> None:
    (fixture.site.documents.root / "secrets" / ".token.0123.aside").write_text("x")


def half_attached(fixture: Fixture) -> None:
    doc = fixture.site.documents.read().storages["shop"]
    fixture.site.documents.put(doc.model_copy(update={"attaching": True}))


def half_detached(fixture: Fixture) -> None:
    doc = fixture.site.documents.read().storages["shop"]
    fixture.site.documents.put(doc.model_copy(update={"ending": "keep"}))


def half_destroyed(fixture: Fixture) -> None:
    doc = fixture.site.documents.read().pgs["stopped"]
    fixture.site.documents.put(doc.model_copy(update={"ending": "refuse"}))


def data_without_a_pg(fixture: Fixture) -> None:
    fixture.pageservers.store("shop").computes["lost"] = _Compute("0" * 12, "main")


def a_fetch(fixture: Fixture) -> None:
    fixture.pageservers.store("shop").fetches["fetch-7"] = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("leave", "expected"),
    [
        (lambda f: container(f, "t_probe_1", None), [("container", "t_probe_1")]),
        (lambda f: container(f, "t_pg_x", Component.COMPUTE, pg="x"), [("container", "t_pg_x")]),
        (lambda f: container(f, "t_pg_2", Component.COMPUTE, pg="created"), [("container", "t_pg_2")]),
        (lambda f: container(f, "t_z", Component.COMPUTE, pg="runs", ports="1"), [("container", "t_z")]),
        (
            lambda f: container(f, "t_storage_x", Component.PAGESERVER, storage="x"),
            [("container", "t_storage_x")],
        ),
        (
            lambda f: container(f, "t_safekeeper_2", Component.SAFEKEEPER, safekeeper="2"),
            [("container", "t_safekeeper_2")],
        ),
        (
            lambda f: container(f, "t_z", Component.SAFEKEEPER, safekeeper="1"),
            [("container", "t_z")],
        ),
        (
            lambda f: f.engine.ensure_volume(specs.safekeeper_volume(STACK, 2)),
            [("volume", "t_safekeeper_2")],
        ),
        (
            lambda f: container(f, "t_pod_9", Component.POD, pod="9", ports="20001"),
            [("container", "t_pod_9")],
        ),
        (two_idle_pods, [("container", "t_pod_8")]),
        (lambda f: container(f, "t_minio", Component.MINIO), [("container", "t_minio")]),
        (
            lambda f: f.engine.ensure_network(
                NetworkSpec("t_net2", "10.9.0.0/24", labels=resource_labels(STACK))
            ),
            [("network", "t_net2")],
        ),
        (
            lambda f: f.engine.ensure_volume(VolumeSpec("t_other", resource_labels(STACK))),
            [("volume", "t_other")],
        ),
        (lambda f: f.engine.ensure_volume(specs.work_volume(STACK, "x")), [("volume", "t_work_x")]),
        (aside_of_a_dead_writer, [("file", "secrets/.token.0123.aside")]),
        (half_attached, [("document", "storage shop")]),
        (half_detached, [("document", "storage shop")]),
        (half_destroyed, [("document", "pg stopped")]),
        (data_without_a_pg, [("compute data", "lost")]),
        (a_fetch, [("scratch", "fetch-7")]),
    ],
)
def test_what_should_not_be_there_is_listed(
    used: Fixture, leave: Callable[[Fixture], object], expected: list[tuple[str, str]]
) -> None:
    leave(used)
    assert found(used) == expected


def test_of_another_stack_nothing_is_listed(used: Fixture) -> None:
    marks = component_labels("other", Component.COMPUTE, pg="x")
    used.engine.create(ContainerSpec("other_pg_x", "image", Component.COMPUTE, marks))
    used.engine.ensure_volume(VolumeSpec("of-somebody"))
    assert found(used) == []


def test_what_a_running_request_works_on_is_not_listed(used: Fixture) -> None:
    data_without_a_pg(used)
    container(used, "t_pg_lost", Component.COMPUTE, pg="lost")
    container(used, "t_probe_1", None)
    holds, done = threading.Event(), threading.Event()

    def work() -> None:
        holds.set()
        done.wait(60)

    names = {"alone": frozenset({"pg/lost"}), "shared": frozenset({"storage/shop"})}
    request = used.site.workers.submit(used.site.locks.run, "put pg lost", work, **names)
    holds.wait(60)
    assert found(used) == []
    done.set()
    request.result(60)
    assert found(used) == [("container", "t_pg_lost"), ("container", "t_probe_1"), ("compute data", "lost")]


def test_a_file_that_is_being_written_is_not_listed_and_not_disturbed(used: Fixture) -> None:
    target = used.site.documents.root / "pgs" / "new.json"
    with durable.aside(target) as file:
        file.write(b"{}")
        assert found(used) == []
        file.rename()
    assert target.exists()
    target.unlink()


def test_a_pageserver_that_is_dead_is_left_out(used: Fixture) -> None:
    data_without_a_pg(used)
    used.engine.stop("t_storage_shop", 1)
    assert found(used) == []
    used.engine.remove(Kind.CONTAINER, "t_storage_shop")
    assert found(used) == []
