"""Whatever step fails, before or after it has happened: nothing of the request is left."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from neon_compose.controller import branches, pgs, storages
from neon_compose.errors import NeonError
from neon_compose.model.states import StorageType
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageIn
from tests.site import Fixture

Request = Callable[[Fixture], object]


def attach(fixture: Fixture) -> object:
    return storages.attach(fixture.site, StorageIn(name="crm", type=StorageType.NATIVE))


def attach_folder(fixture: Fixture) -> object:
    return storages.attach(fixture.site, StorageIn(name="crm", type=StorageType.NATIVE, path="/srv/data/crm"))


def create(fixture: Fixture) -> object:
    return pgs.put(fixture.site, PgIn(name="a", storage_name="shop"))


def create_with_branch(fixture: Fixture) -> object:
    return pgs.put(fixture.site, PgIn(name="a", storage_name="shop", from_="shop@init"))


def branch(fixture: Fixture) -> object:
    return pgs.put(fixture.site, PgIn(name="a", storage_name="shop", from_="shop@init", start=True))


def branch_on_a_port_of_its_own(fixture: Fixture) -> object:
    request = PgIn(name="a", storage_name="shop", from_="shop@init", start=True, port=16200)
    return pgs.put(fixture.site, request)


def branch_alone(fixture: Fixture) -> object:
    return branches.put(fixture.site, "shop", "b", "shop@init")


def failure_of(request: Request, fixture: Fixture) -> NeonError | None:
    try:
        request(fixture)
    except NeonError as error:
        return error
    return None


def every_failure(fixture: Fixture, request: Request, *, after: bool) -> int:
    """Fail `request` at each of its changes in turn; give their number. The last try succeeds."""
    before = fixture.world()
    for at in itertools.count(1):
        fixture.faults.arm(at, after=after)
        failed = failure_of(request, fixture)
        hit = len(fixture.faults.seen) >= at
        fixture.faults.disarm()
        if not hit:
            assert failed is None
            return at - 1
        if failed is None:  # done all the same: it was a probe that could not be removed at first
            storages.detach(fixture.site, "crm", purge=True)
            assert fixture.world() == before
            continue
        assert failed.code == "injected", failed
        assert fixture.world() == before, f"left after {fixture.faults.seen[at - 1]} failed"
    raise AssertionError


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("request_", "least"),
    [
        (attach, 7),
        (attach_folder, 9),
        (create, 1),
        (create_with_branch, 2),
        (branch, 6),
        (branch_on_a_port_of_its_own, 8),
        (branch_alone, 1),
    ],
)
def test_a_failed_request_leaves_nothing(shop: Fixture, request_: Request, least: int, after: bool) -> None:
    assert every_failure(shop, request_, after=after) >= least


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failed_start_leaves_a_stopped_pg_as_it_was(shop: Fixture, after: bool) -> None:
    branch(shop)
    shop.pageservers.store("shop").computes["a"].has_writes = True
    pgs.act(shop.site, "a", PgAction(action=PgVerb.STOP))
    wanted, compute = shop.site.documents.read(), shop.pageservers.store("shop").computes["a"]
    for at in itertools.count(1):
        shop.faults.arm(at, after=after)
        try:
            pgs.act(shop.site, "a", PgAction(action=PgVerb.START))
        except NeonError:
            shop.faults.disarm()
            assert shop.site.documents.read() == wanted
            assert shop.pageservers.store("shop").computes["a"] is compute
            assert not shop.engine.running("t_pg_a")
            continue
        break
    assert at > 5
    assert shop.engine.running("t_pg_a")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failed_destroy_can_be_repeated_to_its_end(shop: Fixture, after: bool) -> None:
    before = shop.world()
    for at in range(1, 5):
        create_with_branch(shop)
        pgs.act(shop.site, "a", PgAction(action=PgVerb.START))
        pgs.act(shop.site, "a", PgAction(action=PgVerb.STOP))
        shop.faults.arm(at, after=after)
        try:
            pgs.destroy(shop.site, "a", discard_writes=False)
        except NeonError:
            shop.faults.disarm()
            if "a" in shop.site.documents.read().pgs:
                pgs.destroy(shop.site, "a", discard_writes=False)
        shop.faults.disarm()
        branches.delete(shop.site, "shop", "a", forever=True)
        assert shop.world() == before


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failed_detach_can_be_repeated_to_its_end(shop: Fixture, after: bool) -> None:
    for at in range(1, 6):
        shop.faults.arm(at, after=after)
        try:
            storages.detach(shop.site, "shop", purge=False)
        except NeonError:
            shop.faults.disarm()
            if "shop" in shop.site.documents.read().storages:
                storages.detach(shop.site, "shop", purge=False)
        shop.faults.disarm()
        assert shop.engine.contents()[2] == {"t_storage_shop"}
        storages.attach(shop.site, StorageIn(name="shop", type=StorageType.NATIVE))
