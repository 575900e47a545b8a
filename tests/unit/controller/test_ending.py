"""A destroy or detach that was begun is told, refuses what would build on it, and can be taken up again."""

from __future__ import annotations

import pytest

from neon_compose.controller import pgs, stack, storages
from neon_compose.errors import Conflict, NeonError
from neon_compose.model.states import StorageType
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageIn
from tests.site import Fixture


@pytest.fixture
def destroying(shop: Fixture) -> Fixture:
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", from_="shop@init"))
    doc = shop.site.documents.read().pgs["a"]
    shop.site.documents.put(doc.model_copy(update={"ending": "refuse"}))
    return shop


@pytest.fixture
def detaching(shop: Fixture) -> Fixture:
    doc = shop.site.documents.read().storages["shop"]
    shop.site.documents.put(doc.model_copy(update={"ending": "keep"}))
    return shop


def test_a_half_destroyed_pg_is_not_started(destroying: Fixture) -> None:
    with pytest.raises(Conflict, match="being destroyed"):
        pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))


def test_a_half_destroyed_pg_is_made_anew_when_it_is_asked_for(destroying: Fixture) -> None:
    _, created = pgs.put(destroying.site, PgIn(name="a", storage_name="shop", branch="main"))
    assert created
    assert destroying.site.documents.read().pgs["a"].ending is None


def test_what_was_written_meanwhile_stops_a_destroy_that_was_to_refuse_it(destroying: Fixture) -> None:
    doc = destroying.site.documents.read().pgs["a"].model_copy(update={"ending": None})
    destroying.site.documents.put(doc)
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.STOP))
    destroying.pageservers.store("shop").computes["a"].has_writes = True
    stopped = destroying.site.documents.read().pgs["a"]
    destroying.site.documents.put(stopped.model_copy(update={"ending": "refuse"}))
    site = destroying.again()
    stack.bring_back(site)
    assert "has writes" in site.problems[0]
    pgs.destroy(site, "a", discard_writes=True)
    assert site.documents.read().pgs == {}


def test_a_refused_destroy_leaves_the_document_as_it_was(destroying: Fixture) -> None:
    doc = destroying.site.documents.read().pgs["a"].model_copy(update={"ending": None})
    destroying.site.documents.put(doc)
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.STOP))
    destroying.pageservers.store("shop").computes["a"].has_writes = True
    before = destroying.world()
    with pytest.raises(NeonError):
        pgs.destroy(destroying.site, "a", discard_writes=False)
    assert destroying.world() == before


def test_a_half_detached_storage_takes_no_pgs_and_says_why(detaching: Fixture) -> None:
    assert storages.show(detaching.site, "shop").note == "it is being detached"
    with pytest.raises(Conflict, match="being detached"):
        pgs.put(detaching.site, PgIn(name="a", storage_name="shop"))


def test_a_half_detached_storage_is_attached_anew_when_it_is_asked_for(detaching: Fixture) -> None:
    _, created = storages.attach(detaching.site, StorageIn(name="shop", type=StorageType.NATIVE))
    assert created
    assert detaching.site.documents.read().storages["shop"].ending is None
