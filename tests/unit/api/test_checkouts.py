"""A pg on another branch, and back, over REST."""

from __future__ import annotations

import pytest

from tests.unit.api.conftest import Api

PG = {"name": "try1", "storage_name": "shop", "from": "shop@init", "start": True}
ACTIONS = "/pgs/try1/actions"


def go(branch: str) -> dict[str, str]:
    return {"action": "checkout", "branch": branch}


@pytest.fixture
def pg(api: Api) -> Api:
    """A running pg on its branch, and a branch beside it."""
    api.http.put("/pgs", json=PG)
    api.http.put("/storages/shop/branches/side", json={"from": "shop@init"})
    return api


def writers(api: Api) -> dict[str, str | None]:
    return {one["name"]: one["writer"] for one in api.http.get("/storages/shop/branches").json()}


def test_a_running_pg_goes_to_another_branch_and_back_at_the_same_address(pg: Api) -> None:
    before = pg.http.get("/pgs/try1").json()
    for branch, expected in (("side", "side"), ("-", "try1"), ("-", "side"), ("side", "side")):
        out = pg.http.post(ACTIONS, json=go(branch))
        assert out.status_code == 200, out.text
        assert (out.json()["branch"], out.json()["state"]) == (expected, "running")
        assert out.json()["url"] == before["url"]
        found = writers(pg)
        assert found == {"main": None, "side": None, "try1": None} | {expected: "try1"}


def test_a_stopped_pg_stays_stopped(pg: Api) -> None:
    pg.http.post(ACTIONS, json={"action": "stop"})
    assert pg.http.post(ACTIONS, json=go("side")).json()["state"] != "running"
    assert pg.http.post(ACTIONS, json={"action": "start"}).json()["branch"] == "side"


def test_the_request_that_made_it_leaves_it_where_it_is(pg: Api) -> None:
    pg.http.post(ACTIONS, json=go("side"))
    again = pg.http.put("/pgs", json=PG)
    assert (again.status_code, again.json()["branch"]) == (200, "side")
    other = pg.http.put("/pgs", json={"name": "try1", "storage_name": "shop", "branch": "main"})
    assert other.json()["code"] == "pg_exists"


def test_a_branch_that_is_none_or_another_pgs_stops_nothing(pg: Api) -> None:
    other = {"name": "other", "storage_name": "shop", "branch": "side", "start": True}
    assert pg.http.put("/pgs", json=other).status_code == 201
    before = pg.world()
    for branch, status, code in (
        ("side", 409, "writer"),
        ("nope", 404, "no_such_branch"),
        ("-", 409, "no_previous"),
    ):
        answer = pg.http.post(ACTIONS, json=go(branch))
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert pg.world() == before


def test_writes_that_are_only_here_stop_nothing(pg: Api) -> None:
    pg.fixture.pageservers.store("shop").computes["try1"].has_writes = True
    before = pg.world()
    answer = pg.http.post(ACTIONS, json=go("side"))
    assert (answer.status_code, answer.json()["code"]) == (409, "has_writes")
    assert pg.world() == before


def test_a_checkout_that_the_pageserver_refuses_leaves_the_pg_as_it_was(pg: Api) -> None:
    pg.http.post(ACTIONS, json={"action": "stop"})
    pg.fixture.pageservers.store("shop").computes["try1"].has_writes = True
    assert pg.http.post(ACTIONS, json=go("side")).json()["code"] == "has_writes"
    assert pg.http.get("/pgs/try1").json()["branch"] == "try1"
    assert pg.http.post(ACTIONS, json={"action": "start"}).json()["state"] == "running"


def test_a_dry_run_says_what_would_happen_and_does_nothing(pg: Api) -> None:
    before = pg.world()
    plan = pg.http.post(f"{ACTIONS}?dry_run=1", json=go("side")).json()["plan"]
    assert [step["action"] for step in plan] == [
        "stop container",
        "remove",
        "delete data of",
        "write document",
        "prepare",
        "create container",
        "lay out",
        "start and open",
    ]
    assert pg.world() == before
