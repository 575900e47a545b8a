"""A newer copy of its source into a storage: what is asked of the pageserver, and what is refused."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from neon_compose.controller import pgs, storages
from neon_compose.controller.contents import Upload
from neon_compose.controller.steps import Plan
from neon_compose.errors import Conflict, Invalid, NotFound
from neon_compose.model.states import StorageType
from neon_compose.wire.events import EventKind
from neon_compose.wire.rest import PgAction, PgIn, PgVerb, StorageAction, StorageIn, StorageVerb
from tests.site import Fixture
from tests.unit.controller.test_fetching import RESULT, SERVER, fetching, imported


def action(source: str | None = None, password: str | None = None) -> StorageAction:
    secret = SecretStr(password) if password else None
    return StorageAction(action=StorageVerb.REFRESH, import_=source, import_password=secret)


@pytest.fixture
def crm(shop: Fixture) -> Fixture:
    """A storage crm, made from a server."""
    fetching(shop, RESULT)
    storages.attach(shop.site, StorageIn(name="crm", type=StorageType.NATIVE, import_=SERVER))
    return shop


def test_a_refresh_reads_the_same_source_again(crm: Fixture) -> None:
    seen = fetching(crm, RESULT)
    out = storages.refresh(crm.site, "crm", action(password="s3cret"))
    assert not isinstance(out, Plan)
    assert out.snapshots == ["import", "import-2"]
    assert (len(seen), seen[0].network) == (1, "host")
    assert imported(crm.pageservers.store("crm"))["server"] == SERVER
    assert imported(crm.pageservers.store("crm"))["password"] == "s3cret"
    assert crm.site.documents.read().storages["crm"].imported == SERVER


def test_a_refresh_may_name_another_source(crm: Fixture) -> None:
    seen = fetching(crm, RESULT)
    (crm.host / "srv/pg").mkdir(parents=True)
    (crm.host / "srv/pg/PG_VERSION").write_text("17")
    storages.refresh(crm.site, "crm", action("/srv/pg"))
    assert (seen[0].network, seen[0].user) == ("none", "0:0")
    assert imported(crm.pageservers.store("crm"))["folder"] == "/srv/pg"


def test_a_dump_that_is_sent_refreshes_too(shop: Fixture) -> None:
    storages.refresh(shop.site, "shop", action(), upload=Upload("custom", iter([b"PGDMP", b"rows"])))
    assert shop.pageservers.store("shop").imported == b"PGDMProws"
    assert storages.show(shop.site, "shop").snapshots == ["import-2", "init"]


def test_a_dump_that_is_sent_goes_before_where_the_first_content_came_from(crm: Fixture) -> None:
    seen = fetching(crm, RESULT)
    storages.refresh(crm.site, "crm", action(), upload=Upload("custom", iter([b"PGDMP"])))
    assert (seen, crm.pageservers.store("crm").imported) == ([], b"PGDMP")


def test_a_storage_that_began_empty_has_no_source_to_read_again(shop: Fixture) -> None:
    with pytest.raises(Invalid) as caught:
        storages.refresh(shop.site, "shop", action())
    assert (caught.value.code, "storage import --refresh -n shop SOURCE" in caught.value.hint) == (
        "no_source",
        True,
    )


def test_an_unknown_storage_is_not_found(shop: Fixture) -> None:
    with pytest.raises(NotFound):
        storages.refresh(shop.site, "shp", action(SERVER))


def test_a_pg_on_main_is_named_and_nothing_is_fetched(crm: Fixture) -> None:
    pgs.put(crm.site, PgIn(name="a", storage_name="crm", start=True))
    pgs.act(crm.site, "a", PgAction(action=PgVerb.STOP))
    seen = fetching(crm, RESULT)
    for dry_run in (True, False):
        with pytest.raises(Conflict) as caught:
            storages.refresh(crm.site, "crm", action(), dry_run=dry_run)
        assert (caught.value.code, "pg destroy -n a" in caught.value.hint) == ("branch_in_use", True)
    assert seen == []


def test_pgs_on_other_branches_do_not_stand_in_its_way(crm: Fixture) -> None:
    pgs.put(crm.site, PgIn(name="a", storage_name="crm", from_="crm@import", start=True))
    fetching(crm, RESULT)
    storages.refresh(crm.site, "crm", action())
    assert pgs.show(crm.site, "a").state == "running"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(crm: Fixture) -> None:
    seen = fetching(crm, RESULT)
    plan = storages.refresh(crm.site, "crm", action(), dry_run=True)
    assert isinstance(plan, Plan)
    assert [row["action"] for row in plan.rows()] == ["import"]
    assert (seen, storages.show(crm.site, "crm").snapshots) == ([], ["import"])


def test_a_fetch_that_fails_leaves_all_as_it_was(crm: Fixture) -> None:
    problem = {"problem": {"title": "no route", "kind": "unavailable", "code": "no_route"}}
    fetching(crm, json.dumps(problem))
    with pytest.raises(Exception, match="no route"):
        storages.refresh(crm.site, "crm", action())
    assert storages.show(crm.site, "crm").snapshots == ["import"]
    assert crm.pageservers.store("crm").fetches == {}


def test_a_refresh_is_news(crm: Fixture) -> None:
    fetching(crm, RESULT)
    storages.refresh(crm.site, "crm", action())
    kinds = [one.kind for one in crm.site.events.after(0)]
    assert kinds.count(EventKind.STORAGE_REFRESHED) == 1
    assert kinds.count(EventKind.IMPORT_FINISHED) == 1
