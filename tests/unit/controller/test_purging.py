"""What a purged storage had goes from safekeepers too, whoever dies or is down in between."""

from __future__ import annotations

import pytest

from neon_compose.controller import branches, bringup, expiring, leftovers, purging, stack, storages
from neon_compose.errors import NeonError
from neon_compose.model.states import StorageType
from neon_compose.wire.rest import StorageIn
from neon_compose.wire.safekeeper import BranchStatus
from tests.fakes_pageserver import branch_uuid
from tests.site import Fixture


def status(storage: str, branch: str) -> BranchStatus:
    return BranchStatus(
        branch_id=str(branch_uuid(storage, branch)),
        identity="0" * 32,
        promised=1,
        term=1,
        history=[],
        oldest="0/1",
        flushed="0/1",
        committed="0/1",
        counts=True,
    )


@pytest.fixture
def kept(shop: Fixture) -> Fixture:
    """Two safekeepers, each with WAL of two branches of "shop" and of one of "crm"."""
    shop.bring_safekeepers(2)
    storages.attach(shop.site, StorageIn(name="crm", type=StorageType.NATIVE))
    branches.put(shop.site, "shop", "b", "shop@init")
    for number in (1, 2):
        shop.safekeepers.branches[number] = [
            status("shop", "main"),
            status("shop", "b"),
            status("crm", "main"),
        ]
    return shop


def have(fixture: Fixture, number: int) -> list[str]:
    known = (("shop", "main"), ("shop", "b"), ("crm", "main"))
    names = {str(branch_uuid(*one)): "/".join(one) for one in known}
    return [names[one.branch_id] for one in fixture.safekeepers.branches[number]]


def assert_forgotten(kept: Fixture) -> None:
    assert [have(kept, number) for number in (1, 2)] == [["crm/main"], ["crm/main"]]
    assert kept.site.documents.read().forgetting == ()


def test_a_purge_has_all_safekeepers_forget_that_storage_alone(kept: Fixture) -> None:
    storages.detach(kept.site, "shop", purge=True)
    assert_forgotten(kept)


def test_a_plan_and_a_detach_without_purge_leave_wal_alone(kept: Fixture) -> None:
    storages.detach(kept.site, "shop", purge=True, dry_run=True)
    storages.detach(kept.site, "shop", purge=False)
    purging.forget_all(kept.site)
    assert len(have(kept, 1)) == 3


def test_one_that_is_down_forgets_when_it_is_back(kept: Fixture) -> None:
    kept.safekeepers.silent.add(2)
    storages.detach(kept.site, "shop", purge=True)
    assert "shop" not in kept.site.documents.read().storages
    expiring.sweep(kept.site)
    purging.forget_all(kept.site)
    assert (have(kept, 1), len(have(kept, 2))) == (["crm/main"], 3)
    waiting = [one for one in leftovers.find(kept.site) if one.kind == "wal"]
    assert [one.name for one in waiting] == ["purged storage shop"]
    storages.attach(kept.site, StorageIn(name="shop", type=StorageType.NATIVE))  # the name is free
    kept.safekeepers.silent.clear()
    purging.forget_all(kept.again())
    assert_forgotten(kept)


def test_two_purges_of_one_name_are_both_finished(kept: Fixture) -> None:
    kept.safekeepers.silent.update((1, 2))
    for _ in range(2):
        storages.detach(kept.site, "shop", purge=True)
        storages.attach(kept.site, StorageIn(name="shop", type=StorageType.NATIVE))
    assert len(kept.site.documents.read().forgetting) == 2
    kept.safekeepers.silent.clear()
    purging.forget_all(kept.site)
    assert_forgotten(kept)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("restarted", [False, True], ids=["asked again", "restarted"])
@pytest.mark.parametrize("at", range(1, 14))
def test_failing_at_any_change_a_purge_is_finished(
    kept: Fixture, at: int, after: bool, restarted: bool
) -> None:
    kept.faults.arm(at, after=after)
    try:
        storages.detach(kept.site, "shop", purge=True)
    except NeonError:
        kept.faults.disarm()
        if restarted:
            site = kept.again()
            stack.bring_back(site)
            purging.forget_all(site)
            begun = "shop" not in site.documents.read().storages
            if not begun:
                assert len(have(kept, 1)) == 3
                storages.detach(site, "shop", purge=True)
        elif (doc := kept.site.documents.read().storages.get("shop")) is not None:
            storages.detach(kept.site, "shop", purge=doc.ending is None)
        purging.forget_all(kept.site)
    kept.faults.disarm()
    purging.forget_all(kept.site)
    assert "shop" not in kept.site.documents.read().storages
    assert "shop" not in {name for name, one in kept.pageservers.stores.items() if not one.empty}
    assert_forgotten(kept)


def test_a_purge_whose_pageserver_is_stopped_asks_it_all_the_same(kept: Fixture) -> None:
    kept.engine.stop("t_storage_shop", 1)
    storages.detach(kept.site, "shop", purge=True)
    assert_forgotten(kept)


def test_a_storage_that_can_not_be_read_is_purged_and_its_wal_stays(
    kept: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    kept.pageservers.silent.add("shop")
    storages.detach(kept.site, "shop", purge=True)
    assert "shop" not in kept.site.documents.read().storages
    assert len(have(kept, 1)) == 3
    assert "safekeepers keep their WAL" in caplog.text
    assert kept.site.documents.read().forgetting == ()


def test_a_purge_that_a_dead_controller_began_is_finished_by_the_next(kept: Fixture) -> None:
    doc = kept.site.documents.read().storages["shop"]
    kept.site.documents.put(doc.model_copy(update={"ending": "purge"}))
    site = kept.again()
    bringup._serve(site, doc)
    purging.forget_all(site)
    assert_forgotten(kept)
