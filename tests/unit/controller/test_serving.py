"""A pageserver that died is brought back by the request that finds out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from neon_compose.controller import pgs
from neon_compose.controller.site import Site
from neon_compose.errors import Unavailable
from neon_compose.wire.rest import PgAction, PgIn, PgVerb
from tests.site import Fixture

PAGESERVER = "t_storage_shop"


def create(site: Site) -> object:
    return pgs.put(site, PgIn(name="new", storage_name="shop", from_="shop@init", start=True))


def start(site: Site) -> object:
    return pgs.act(site, "one", PgAction(action=PgVerb.START))


def restart(site: Site) -> object:
    return pgs.act(site, "one", PgAction(action=PgVerb.RESTART))


@pytest.fixture
def one(shop: Fixture) -> Fixture:
    """With a stopped pg "one"."""
    pgs.put(shop.site, PgIn(name="one", storage_name="shop", from_="shop@init", start=True))
    pgs.act(shop.site, "one", PgAction(action=PgVerb.STOP))
    return shop


def die_unnoticed(one: Fixture) -> threading.Thread:
    """Its program is dead; the engine finds out once somebody has asked in vain."""
    one.pageservers.silent.add("shop")

    def notice() -> None:
        assert one.pageservers.unanswered.wait(10)
        one.engine.end(PAGESERVER)
        one.pageservers.silent.clear()

    noticing = threading.Thread(target=notice)
    noticing.start()
    return noticing


@pytest.mark.parametrize(("request_", "pg"), [(start, "one"), (restart, "one"), (create, "new")])
def test_a_request_in_the_instant_after_a_pageservers_death_brings_it_back(
    one: Fixture, request_: Callable[[Site], object], pg: str
) -> None:
    noticing = die_unnoticed(one)
    request_(one.site)
    noticing.join()
    assert one.engine.running(PAGESERVER)
    assert one.engine.running(f"t_pg_{pg}")


def test_a_pageserver_that_runs_and_does_not_answer_is_left_alone(
    one: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neon_compose.controller.serving._NOTICED_S", 0.05)
    before = one.site.documents.read()
    one.pageservers.silent.add("shop")
    seen = len(one.engine.calls)
    with pytest.raises(Unavailable) as caught:
        start(one.site)
    assert caught.value.code == "pageserver_down"
    assert one.site.documents.read() == before
    assert f"start {PAGESERVER}" not in one.engine.calls[seen:]
    assert one.engine.running(PAGESERVER)


def test_a_pageserver_that_dies_again_is_not_brought_back_twice(one: Fixture) -> None:
    """What kills it must be seen."""
    deaths = []
    real = one.engine.start

    def start_and_die(name: str) -> None:
        real(name)
        if name.startswith("t_pg_"):
            deaths.append(name)
            one.engine.end(PAGESERVER)

    one.engine.start = start_and_die  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        start(one.site)
    assert len(deaths) == 2
