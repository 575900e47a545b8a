"""Each kind of trouble the controller can find is brought about once, and found with its words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from neon_compose.controller import branches, diagnose, expiring, pgs, storages
from neon_compose.controller import stack as whole
from neon_compose.controller.desired import StorageDoc
from neon_compose.controller.diagnose import OF_CODES
from neon_compose.engine.runtime import ContainerSpec
from neon_compose.errors import Conflict, Corrupt, NeonError, NotFound, TimedOut
from neon_compose.model.ids import new_id
from neon_compose.model.states import StorageType
from neon_compose.model.troubles import Trouble
from neon_compose.wait import now
from neon_compose.wire.pageserver import ComputeStatus
from neon_compose.wire.rest import FindingOut, PgIn, StorageIn
from neon_compose.wire.safekeeper import BranchStatus
from tests.fakes_pageserver import FakePageserver, FakeStore
from tests.site import STACK, Fixture

COMPUTE, SERVER, KEEPER = f"{STACK}_pg_a", f"{STACK}_storage_shop", f"{STACK}_safekeeper_1"

Bring = Callable[[Fixture, pytest.MonkeyPatch], None]


def found(fixture: Fixture) -> dict[Trouble, FindingOut]:
    return {one.kind: one for one in diagnose.findings(fixture.site).findings}


@pytest.fixture
def running(shop: Fixture) -> Fixture:
    """A safekeeper, and storage "shop" with pg "a", which runs."""
    shop.bring_safekeepers(1)
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
    return shop


def remove_compute(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    del fixture.engine.boxes[COMPUTE]


def take_its_name(fixture: Fixture, patch: pytest.MonkeyPatch) -> None:
    remove_compute(fixture, patch)
    fixture.engine.create(ContainerSpec(COMPUTE, "somebody-elses"))


def update_images(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    doc = fixture.site.documents.read().stack
    fixture.site.documents.put(doc.model_copy(update={"images": {**doc.images, "compute": "newer"}}))


def change_settings(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    pgs.put(fixture.site, PgIn(name="a", storage_name="shop", settings={"work_mem": "8MB"}))


def turn_the_clock_back(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    fixture.engine.boxes[COMPUTE].created_at = now() + timedelta(hours=1)


def attach_by_half(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    doc = StorageDoc(name="crm", type=StorageType.NATIVE, attaching=True, created_at=now())
    fixture.site.documents.put(doc)


def hang_the_pageserver(_: Fixture, patch: pytest.MonkeyPatch) -> None:
    def no_answer(_: FakePageserver) -> object:
        raise TimedOut("the pageserver took too long")

    patch.setattr(FakePageserver, "status", no_answer)


def damage_the_storage(_: Fixture, patch: pytest.MonkeyPatch) -> None:
    def damaged(_: FakePageserver) -> object:
        raise Corrupt('document "refs/branches/main.json" is damaged')

    patch.setattr(FakePageserver, "status", damaged)


def hang_the_safekeeper(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    fixture.safekeepers.silent.add(1)


def receive_nothing(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    (compute,) = fixture.site.pageserver(fixture.site.snapshot(), "shop").computes()
    receiver = BranchStatus(
        branch_id=compute.branch_id, identity=str(new_id()), promised=1, term=1, history=[], oldest="0/0",
        flushed="0/0", committed="0/0", counts=True, receiver="disk full",
        trouble={"title": "the disk is full"},
    )  # fmt: skip
    fixture.safekeepers.branches[1] = [receiver]


def status_says(**more: bool) -> Bring:
    def bring(_: Fixture, patch: pytest.MonkeyPatch) -> None:
        computes = FakePageserver.computes

        def changed(server: FakePageserver) -> list[ComputeStatus]:
            return [one.model_copy(update=more) for one in computes(server)]

        patch.setattr(FakePageserver, "computes", changed)

    return bring


def fail_to_bring_up(error: NeonError) -> Bring:
    def bring(fixture: Fixture, patch: pytest.MonkeyPatch) -> None:
        def fails(*_: object, **__: object) -> None:
            raise error

        fixture.engine.end(COMPUTE)
        patch.setattr(pgs, "act", fails)
        whole.bring_back(fixture.site)

    return bring


def outlive_its_time(fixture: Fixture, _: pytest.MonkeyPatch) -> None:
    for name, source in (("old", "shop@init"), ("child", "shop/old")):
        branches.put(fixture.site, "shop", name, source)
    store = fixture.pageservers.store("shop")
    store.expires["old"] = now() - timedelta(seconds=1)
    expiring.sweep(fixture.site)


SCENES: dict[Trouble, Bring] = {
    Trouble.NAME_TAKEN: take_its_name,
    Trouble.CONTAINER_PAUSED: lambda fixture, _: fixture.engine.pause(COMPUTE),
    Trouble.CONTAINER_ENDED: lambda fixture, _: fixture.engine.end(COMPUTE),
    Trouble.CONTAINER_GONE: remove_compute,
    Trouble.CUT_OFF: lambda fixture, _: fixture.engine.leave_networks(f"{STACK}_pod_0"),
    Trouble.IMAGE_OLD: update_images,
    Trouble.CLOCK_OFF: turn_the_clock_back,
    Trouble.VOLUME_LOST: lambda fixture, _: fixture.engine.vols.pop(SERVER) and None,
    Trouble.FOLDER_LOST: fail_to_bring_up(NotFound('path "/data" does not exist', code="path_missing")),
    Trouble.STORAGE_EMPTY: lambda fixture, _: fixture.pageservers.stores.update(shop=FakeStore("shop")),
    Trouble.STORAGE_SILENT: hang_the_pageserver,
    Trouble.STORAGE_DAMAGED: damage_the_storage,
    Trouble.HALF_ATTACHED: attach_by_half,
    Trouble.SAFEKEEPER_SILENT: hang_the_safekeeper,
    Trouble.WAL_LOST: lambda fixture, _: fixture.engine.vols.pop(KEEPER) and None,
    Trouble.WAL_NOT_RECEIVED: receive_nothing,
    Trouble.BRANCH_OVERDUE: outlive_its_time,
    Trouble.DATA_DOUBTFUL: status_says(doubtful=True),
    Trouble.DATA_LOST: fail_to_bring_up(Conflict("it is gone", code="data_lost")),
    Trouble.DATA_UNCLAIMED: fail_to_bring_up(Conflict("not named", code="unclaimed")),
    Trouble.SETTLING: status_says(settling=True),
    Trouble.RESTART_NEEDED: change_settings,
    Trouble.PORT_TAKEN: fail_to_bring_up(Conflict("port 15432 is taken", code="port_taken")),
    Trouble.SUBNET_TAKEN: fail_to_bring_up(Conflict("it overlaps", code="subnet_taken")),
    Trouble.NOT_OPENED: fail_to_bring_up(TimedOut("did not open", code="not_opened")),
    Trouble.NOT_BROUGHT_UP: fail_to_bring_up(Conflict("something else", code="other")),
    Trouble.IMAGE_MISSING: fail_to_bring_up(NotFound("no such image", code="image_missing")),
}


def test_a_healthy_stack_has_no_troubles(running: Fixture) -> None:
    assert found(running) == {}


@pytest.mark.parametrize("kind", SCENES)
def test_each_kind_is_found_and_says_what_it_is_about_what_it_means_and_what_to_do(
    running: Fixture, kind: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    SCENES[kind](running, monkeypatch)
    seen = found(running)
    assert kind in seen, seen
    one = seen[kind]
    assert one.name
    assert one.found
    assert len(one.means) > 20
    assert len(one.hint) > 10
    assert "{" not in one.hint.replace("{{", "")


def test_every_code_of_an_error_has_a_scene_of_its_kind() -> None:
    assert set(OF_CODES.values()) <= set(SCENES)


def test_what_a_request_works_on_is_neither_well_nor_ill(
    running: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_compute(running, monkeypatch)
    seen: list[dict[Trouble, FindingOut]] = []
    running.site.locks.run("x", lambda: seen.append(found(running)), alone=frozenset({"pg/a"}))
    assert seen == [{}]
    assert Trouble.CONTAINER_GONE in found(running)


def test_a_stack_that_is_stopped_is_not_ill(running: Fixture) -> None:
    whole.stop(running.site)
    assert found(running) == {}


def test_a_safekeeper_that_was_stopped_by_hand_or_removed_is_missed(running: Fixture) -> None:
    running.engine.stop(KEEPER, 1)
    assert found(running)[Trouble.CONTAINER_ENDED].name == KEEPER
    del running.engine.boxes[KEEPER]
    assert found(running)[Trouble.CONTAINER_GONE].name == KEEPER


def test_a_storage_in_a_folder_needs_no_volume(shop: Fixture) -> None:
    storages.attach(shop.site, StorageIn(name="crm", type=StorageType.NATIVE, path="/data"))
    assert Trouble.VOLUME_LOST not in found(shop)
