"""Protecting branches, and having them expire, over REST."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from neon_compose.wait import now
from tests.unit.api.conftest import Api

BRANCH = "/storages/shop/branches/try1"
ACTIONS = f"{BRANCH}/actions"


def branch(api: Api, name: str = "try1", **body: object) -> None:
    answer = api.http.put(f"/storages/shop/branches/{name}", json={"from": "shop@init"} | body)
    assert answer.status_code in (200, 201), answer.text


def left(api: Api, name: str = "try1") -> timedelta:
    """How long a branch still has."""
    at = api.http.get(f"/storages/shop/branches/{name}").json()["expires"]
    return datetime.fromisoformat(at) - now()


def is_about(found: timedelta, wanted: timedelta) -> bool:
    return timedelta(0) <= wanted - found < timedelta(minutes=1)


def test_a_protected_branch_says_so_and_is_refused_until_it_is_unprotected(api: Api) -> None:
    branch(api)
    for _ in range(2):
        assert api.http.post(ACTIONS, json={"action": "protect"}).json()["protected"] is True
    assert [one["protected"] for one in api.http.get("/storages/shop/branches").json()] == [False, True]
    before = api.world()
    for refused in (
        api.http.delete(BRANCH),
        api.http.delete(f"{BRANCH}?dry_run=1"),
        api.http.post(ACTIONS, json={"action": "restore", "to": "init"}),
        api.http.post(ACTIONS, json={"action": "reset"}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "branch_protected"), refused.text
    assert api.world() == before
    assert api.http.post(ACTIONS, json={"action": "unprotect"}).json()["protected"] is False
    assert api.http.delete(BRANCH).status_code == 204


def test_a_branch_is_recovered_only_by_who_accepts_the_loss(api: Api) -> None:
    branch(api)
    for body, status in (
        ({"action": "recover"}, 409),
        ({"action": "recover", "accept_loss": True}, 200),
        ({"action": "recover", "accept_loss": True, "ttl": "2h"}, 422),
        ({"action": "protect", "accept_loss": True}, 422),
        ({"action": "restore", "to": "init", "accept_loss": True}, 422),
    ):
        answer = api.http.post(ACTIONS, json=body)
        assert answer.status_code == status, answer.text


def test_a_cascade_that_meets_a_protected_branch_takes_nothing(api: Api) -> None:
    branch(api)
    branch(api, "child", **{"from": "shop/try1"})
    branch(api, "other", **{"from": "shop/try1"})
    api.http.post("/storages/shop/branches/child/actions", json={"action": "protect"})
    before = api.world()
    refused = api.http.delete(f"{BRANCH}?cascade=1")
    assert (refused.status_code, refused.json()["code"]) == (409, "branch_protected")
    assert '"child"' in refused.json()["title"]
    assert api.world() == before


def test_a_branch_is_made_to_expire_and_told_not_to(api: Api) -> None:
    branch(api, ttl="2h")
    assert is_about(left(api), timedelta(hours=2))
    branch(api)  # says nothing of it
    assert is_about(left(api), timedelta(hours=2))
    branch(api, ttl="3h")
    assert is_about(left(api), timedelta(hours=3))
    api.http.post(ACTIONS, json={"action": "expire", "ttl": "30m"})
    assert is_about(left(api), timedelta(minutes=30))
    assert api.http.post(ACTIONS, json={"action": "expire", "ttl": None}).json()["expires"] is None


def test_a_pg_is_made_on_a_branch_that_expires(api: Api) -> None:
    body = {"name": "try1", "storage_name": "shop", "from": "shop@init", "start": True, "ttl": "2h"}
    plan = api.http.put("/pgs?dry_run=1", json=body).json()["plan"]
    assert (plan[-1]["action"], plan[-1]["target"]) == ("mark", "branch shop/try1")
    assert api.http.put("/pgs", json=body).status_code == 201
    assert is_about(left(api), timedelta(hours=2))


def test_a_dry_run_marks_nothing(api: Api) -> None:
    branch(api)
    before = api.world()
    plan = api.http.post(f"{ACTIONS}?dry_run=1", json={"action": "protect"}).json()["plan"]
    assert plan == [{"action": "mark", "target": "branch shop/try1", "why": "protect it"}]
    api.http.put(f"{BRANCH}?dry_run=1", json={"ttl": "2h"})
    assert api.world() == before


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("try1", {"action": "expire", "ttl": "soon"}, 422, "bad_ttl"),
        ("try1", {"action": "expire", "ttl": "999999999d"}, 422, "bad_ttl"),
        ("try1", {"action": "protect", "ttl": "2h"}, 422, "bad_action"),
        ("try1", {"action": "protect", "to": "init"}, 422, "bad_action"),
        ("try1", {"action": "expire", "keep": "aside"}, 422, "bad_action"),
        ("try1", {"action": "reset", "ttl": "2h"}, 422, "bad_action"),
        ("main", {"action": "expire", "ttl": "2h"}, 409, "main_branch"),
        ("none", {"action": "protect"}, 404, "no_such_branch"),
    ],
)
def test_what_makes_no_sense_is_refused(
    api: Api, name: str, body: dict[str, object], status: int, code: str
) -> None:
    branch(api)
    answer = api.http.post(f"/storages/shop/branches/{name}/actions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_main_takes_no_time_to_live(api: Api) -> None:
    for answer in (
        api.http.put("/storages/shop/branches/main", json={"ttl": "2h"}),
        api.http.put("/pgs", json={"name": "a", "storage_name": "shop", "ttl": "2h"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "main_branch")
    assert api.http.get("/pgs").json() == []
