"""Restoring and resetting branches over REST: the pg keeps its address, what was stays, failures undo."""

from __future__ import annotations

import pytest

from tests.unit.api.conftest import Api

PG = {"name": "try1", "storage_name": "shop", "from": "shop@init", "start": True}
ACTIONS = "/storages/shop/branches/try1/actions"
TO_INIT = {"action": "restore", "to": "init"}


def branches(api: Api) -> list[str]:
    return [one["name"] for one in api.http.get("/storages/shop/branches").json()]


def test_a_running_pg_is_on_the_restored_branch_at_the_same_address(api: Api) -> None:
    before = api.http.put("/pgs", json=PG).json()
    done = api.http.post(ACTIONS, json=TO_INIT | {"keep": "aside"})
    assert done.status_code == 200, done.text
    assert (done.json()["branch"]["name"], done.json()["kept"]) == ("try1", "aside")
    assert done.json()["branch"]["writer"] == "try1"
    after = api.http.get("/pgs/try1").json()
    assert [after[key] for key in ("state", "url", "branch")] == [
        before[key] for key in ("state", "url", "branch")
    ]
    assert branches(api) == ["aside", "main", "try1"]


def test_the_old_state_gets_a_name_with_the_time(api: Api) -> None:
    api.http.put("/pgs", json=PG)
    kept = api.http.post(ACTIONS, json={"action": "reset"}).json()["kept"]
    assert kept.startswith("try1-before-20")
    assert kept in branches(api)


def test_a_stopped_pg_stays_stopped(api: Api) -> None:
    api.http.put("/pgs", json=PG)
    api.http.post("/pgs/try1/actions", json={"action": "stop"})
    assert api.http.post(ACTIONS, json=TO_INIT).status_code == 200
    assert api.http.get("/pgs/try1").json()["state"] != "running"
    assert api.http.post("/pgs/try1/actions", json={"action": "start"}).json()["state"] == "running"


def test_a_dry_run_says_what_would_happen_and_does_nothing(api: Api) -> None:
    api.http.put("/pgs", json=PG)
    before = api.world()
    plan = api.http.post(f"{ACTIONS}?dry_run=1", json=TO_INIT).json()["plan"]
    assert [step["action"] for step in plan] == [
        "check moment of",
        "stop container",
        "remove",
        "restore",
        "prepare",
        "create container",
        "lay out",
        "start and open",
    ]
    assert api.world() == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"action": "restore"}, 422, "no_moment"),
        ({"action": "restore", "to": "never"}, 404, "no_such_snapshot"),
        ({"action": "restore", "to": "^"}, 422, "bad_moment"),
        ({"action": "restore", "to": "2999-01-01T00:00:00Z"}, 422, "future_moment"),
        ({"action": "reset", "to": "init"}, 422, "bad_moment"),
        ({"action": "restore", "to": "init", "keep": "A"}, 422, "bad_name"),
        ({"action": "restore", "to": "init", "keep": "main"}, 409, "branch_exists"),
        ({"action": "dance"}, 422, "bad_value"),
    ],
)
def test_what_makes_no_sense_stops_nothing(api: Api, body: dict[str, str], status: int, code: str) -> None:
    api.http.put("/pgs", json=PG)
    before = api.world()
    answer = api.http.post(ACTIONS, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.world() == before


def test_a_pg_that_was_stopped_for_a_restore_that_failed_runs_again(api: Api) -> None:
    api.http.put("/pgs", json=PG)

    def taken_meanwhile(what: str) -> None:
        if what == "restore branch try1" and api.fixture.faults.seen.count(what) == 2:  # first the check
            api.http.put("/storages/shop/branches/aside", json={"from": "shop@init"})

    api.fixture.faults.before = taken_meanwhile
    answer = api.http.post(ACTIONS, json=TO_INIT | {"keep": "aside"})
    assert (answer.status_code, answer.json()["code"]) == (409, "branch_exists")
    assert api.http.get("/pgs/try1").json()["state"] == "running"
    assert branches(api) == ["aside", "main", "try1"]


def test_an_unknown_branch_is_not_found(api: Api) -> None:
    answer = api.http.post("/storages/shop/branches/nope/actions", json=TO_INIT)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_branch")
    answer = api.http.post("/storages/nope/branches/main/actions", json=TO_INIT)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_storage")
