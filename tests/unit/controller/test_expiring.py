"""Branches whose time is over go, with their pgs; what is needed or protected stays."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta

import pytest

from neon_compose.controller import branches, expiring, pgs
from neon_compose.controller.expiring import Sweeper, sweep
from neon_compose.controller.site import Site
from neon_compose.wait import Deadline, now, until
from neon_compose.wire.rest import BranchAction, BranchVerb, PgAction, PgIn, PgVerb
from tests.fakes_pageserver import FakeStore
from tests.site import Fixture

PAST = timedelta(seconds=-1)


def branch(fixture: Fixture, name: str, source: str = "shop@init", left: timedelta | None = PAST) -> None:
    branches.put(fixture.site, "shop", name, source)
    if left is not None:
        store(fixture).expires[name] = now() + left


def pg(fixture: Fixture, name: str, *, start: bool = True, left: timedelta | None = PAST) -> None:
    pgs.put(fixture.site, PgIn(name=name, storage_name="shop", from_="shop@init", start=start))
    if left is not None:
        store(fixture).expires[name] = now() + left


def store(fixture: Fixture) -> FakeStore:
    return fixture.pageservers.store("shop")


def there(fixture: Fixture) -> list[str]:
    return sorted(store(fixture).branches)


def test_a_branch_goes_with_a_pg_that_runs_and_what_it_wrote(shop: Fixture) -> None:
    pg(shop, "a")
    pg(shop, "b", left=timedelta(hours=1))
    store(shop).computes["a"].has_writes = True
    sweep(shop.site)
    assert there(shop) == ["b", "main"]
    assert [one.name for one in pgs.list_all(shop.site)] == ["b"]
    assert list(store(shop).computes) == ["b"]
    assert "t_pg_a" not in shop.engine.boxes
    assert shop.site.overdue == {}


def test_a_pg_that_is_stopped_goes_too(shop: Fixture) -> None:
    pg(shop, "a")
    pgs.act(shop.site, "a", PgAction(action=PgVerb.STOP))
    pg(shop, "never-started", start=False)
    branch(shop, "never-started")
    sweep(shop.site)
    assert there(shop) == ["main"]
    assert pgs.list_all(shop.site) == []


def test_a_protected_one_stays_until_it_is_unprotected(shop: Fixture) -> None:
    pg(shop, "a")
    act = BranchAction(action=BranchVerb.PROTECT)
    branches.mark(shop.site, "shop", "a", act, dry_run=False)
    before = shop.world()
    sweep(shop.site)
    assert shop.world() == before
    act = BranchAction(action=BranchVerb.UNPROTECT)
    branches.mark(shop.site, "shop", "a", act, dry_run=False)
    sweep(shop.site)
    assert there(shop) == ["main"]


def test_main_stays_whatever_its_manifest_says(shop: Fixture) -> None:
    store(shop).expires["main"] = now() + PAST
    before = shop.world()
    sweep(shop.site)
    assert shop.world() == before


def test_one_that_a_child_needs_stays_with_its_pg_and_is_told_of_once(
    shop: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    pg(shop, "a")
    branch(shop, "child", "shop/a", left=None)
    with caplog.at_level(logging.WARNING, expiring.__name__):
        for _ in range(3):
            sweep(shop.site)
    assert there(shop) == ["a", "child", "main"]
    assert pgs.show(shop.site, "a").state == "running"
    assert shop.site.overdue == {"shop/a": 'branch "a" is needed. By branch "child".'}
    assert [record.getMessage() for record in caplog.records] == [
        'branch shop/a should be gone and is not: branch "a" is needed. By branch "child".'
    ]
    branches.delete(shop.site, "shop", "child")
    sweep(shop.site)
    assert there(shop) == ["main"]
    assert shop.site.overdue == {}


def test_one_that_has_a_snapshot_stays(shop: Fixture) -> None:
    branch(shop, "a")
    store(shop).snapshots["mark"] = "a"
    sweep(shop.site)
    assert there(shop) == ["a", "main"]
    assert '"mark"' in shop.site.overdue["shop/a"]


def test_a_whole_line_goes_at_once(shop: Fixture) -> None:
    branch(shop, "a")
    branch(shop, "m", "shop/a")
    branch(shop, "b", "shop/m")
    sweep(shop.site)
    assert there(shop) == ["main"]


def test_a_clock_that_goes_backwards_only_makes_it_later(
    shop: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch(shop, "a")
    at: list[datetime] = [now() - timedelta(days=1)]
    monkeypatch.setattr(expiring, "now", lambda: at[0])
    sweep(shop.site)
    assert there(shop) == ["a", "main"]
    at[0] = now()
    sweep(shop.site)
    assert there(shop) == ["main"]


def test_nothing_goes_while_the_stack_stops_or_is_not_back_yet(shop: Fixture) -> None:
    branch(shop, "a")
    shop.site.phase = "stopping"
    sweep(shop.site)
    shop.site.phase = None
    shop.site.ready.clear()
    sweep(shop.site)
    assert there(shop) == ["a", "main"]


def test_a_storage_that_does_not_answer_keeps_no_other_from_its_sweep(
    shop: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch(shop, "a")
    answering = type(shop.site).answering
    silent = shop.site.pageservers.at("nobody")
    monkeypatch.setattr(
        type(shop.site), "answering", lambda site, snap: {"crm": silent} | answering(site, snap)
    )
    sweep(shop.site)
    assert there(shop) == ["main"]


def test_who_has_it_stay_in_time_keeps_it(shop: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes between the look and the lock."""
    pg(shop, "a")
    end = expiring._end

    def told_to_stay(site: Site, storage: str, name: str) -> None:
        action = BranchAction(action=BranchVerb.EXPIRE)
        branches.mark(site, storage, name, action, dry_run=False)
        end(site, storage, name)

    monkeypatch.setattr(expiring, "_end", told_to_stay)
    before = shop.engine.contents()
    sweep(shop.site)
    assert there(shop) == ["a", "main"]
    assert shop.engine.contents() == before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_what_failed_at_any_change_is_done_by_the_next_sweep(shop: Fixture, at: int, *, after: bool) -> None:
    pg(shop, "a")
    shop.faults.arm(at, after=after)
    sweep(shop.site)
    assert len(shop.faults.seen) >= at
    shop.faults.disarm()
    sweep(shop.site)
    assert there(shop) == ["main"]
    assert pgs.list_all(shop.site) == []
    assert shop.site.overdue == {}


def test_the_thread_looks_again_and_again_until_it_is_closed(shop: Fixture) -> None:
    sweeper = Sweeper(shop.site, period_s=0.01)
    sweeper.start()
    try:
        for name in ("a", "b"):
            branch(shop, name)
            until("it to go", lambda: there(shop) == ["main"], Deadline.after(30))
    finally:
        sweeper.close()
    until(
        "its thread to end",
        lambda: not any(one.name == "sweeper" for one in threading.enumerate()),
        Deadline.after(30),
    )
