"""A destroy or detach that was begun is told, refuses what would build on it, and can be taken up again."""

from __future__ import annotations

import pytest

from neon_compose.controller import bringup, pgs, stack, storages
from neon_compose.errors import Conflict, NeonError, Unavailable
from neon_compose.model.states import PgState, StorageType
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageIn
from tests.fakes_pageserver import FakePageserver
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


def run_and_stop(destroying: Fixture) -> None:
    """Pg "a" as one that nobody destroys, which ran and was stopped."""
    doc = destroying.site.documents.read().pgs["a"].model_copy(update={"ending": None})
    destroying.site.documents.put(doc)
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.STOP))


def test_a_half_destroyed_pg_is_not_started(destroying: Fixture) -> None:
    with pytest.raises(Conflict, match="being destroyed"):
        pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))


def test_a_half_destroyed_pg_is_made_anew_when_it_is_asked_for(destroying: Fixture) -> None:
    _, created = pgs.put(destroying.site, PgIn(name="a", storage_name="shop", branch="main"))
    assert created
    assert destroying.site.documents.read().pgs["a"].ending is None


def test_what_was_written_meanwhile_stops_a_destroy_that_was_to_refuse_it(destroying: Fixture) -> None:
    run_and_stop(destroying)
    destroying.pageservers.store("shop").computes["a"].has_writes = True
    stopped = destroying.site.documents.read().pgs["a"]
    destroying.site.documents.put(stopped.model_copy(update={"ending": "refuse"}))
    site = destroying.again()
    stack.bring_back(site)
    assert "has writes" in site.problems[0]
    assert pgs.act(site, "a", PgAction(action=PgVerb.START)).state is PgState.RUNNING


def test_a_destroy_asked_for_again_and_refused_leaves_a_pg_that_can_be_started(destroying: Fixture) -> None:
    run_and_stop(destroying)
    destroying.pageservers.store("shop").computes["a"].has_writes = True
    stopped = destroying.site.documents.read().pgs["a"]
    destroying.site.documents.put(stopped.model_copy(update={"ending": "refuse"}))
    with pytest.raises(Conflict, match="has writes"):
        pgs.destroy(destroying.site, "a", discard_writes=False)
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))
    with pytest.raises(Conflict):
        pgs.destroy(destroying.site, "a", discard_writes=True)  # it runs
    pgs.act(destroying.site, "a", PgAction(action=PgVerb.STOP))
    pgs.destroy(destroying.site, "a", discard_writes=True)
    assert destroying.site.documents.read().pgs == {}


def test_a_destroy_whose_answer_was_lost_is_not_taken_back(
    destroying: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data may be gone: a start would make it anew, and empty."""
    run_and_stop(destroying)
    delete = FakePageserver.delete_compute

    def no_answer(server: FakePageserver, pg: str, *, discard_writes: bool) -> None:
        delete(server, pg, discard_writes=discard_writes)
        raise Unavailable("the pageserver does not answer", code="pageserver_cut_off")

    with monkeypatch.context() as patch:
        patch.setattr(FakePageserver, "delete_compute", no_answer)
        with pytest.raises(Unavailable):
            pgs.destroy(destroying.site, "a", discard_writes=True)
    with pytest.raises(Conflict, match="being destroyed"):
        pgs.act(destroying.site, "a", PgAction(action=PgVerb.START))
    stack.bring_back(destroying.site)
    assert destroying.site.documents.read().pgs == {}


def test_a_storage_whose_attach_ended_meanwhile_is_not_given_up(shop: Fixture) -> None:
    """Bring-up reads the documents, and comes to the storage later."""
    doc = shop.site.documents.read().storages["shop"]
    before = shop.world()
    bringup._serve(shop.site, doc.model_copy(update={"attaching": True, "fresh": True}))
    assert shop.world() == before


def test_a_pg_that_was_stopped_meanwhile_is_not_started(shop: Fixture) -> None:
    pgs.put(shop.site, PgIn(name="a", storage_name="shop", start=True))
    doc = shop.site.documents.read().pgs["a"]
    pgs.act(shop.site, "a", PgAction(action=PgVerb.STOP))
    before = shop.world()
    bringup._start(shop.site, doc)
    assert shop.world() == before


def test_a_refused_destroy_leaves_the_document_as_it_was(destroying: Fixture) -> None:
    run_and_stop(destroying)
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
