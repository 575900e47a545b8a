"""Diffs over HTTP: which two moments are compared, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.unit.api.conftest import Api

SNAPSHOT, BRANCH = "/snapshots/shop/init/actions", "/storages/shop/branches/main/actions"


@pytest.fixture
def shop(api: Api) -> Api:
    """With snapshots "init" and "one", branches "main" and "try", and another storage."""
    api.http.put("/storages/shop/branches/try", json={"from": "shop@init"})
    api.http.put("/snapshots/shop/one", json={"from": "shop"})
    api.http.put("/storages", json={"name": "other", "type": "native"})
    api.http.put("/storages/other/branches/far", json={"from": "other"})
    return api


def result(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    *steps, last = map(json.loads, response.text.splitlines())
    assert all("event" in step for step in steps)
    found: dict[str, Any] = last["result"]
    return found


@pytest.mark.parametrize(
    ("path", "body", "opened"),
    [
        (SNAPSHOT, {"with": "one"}, ["init", "one"]),
        (SNAPSHOT, {"with": "shop/one"}, ["init", "one"]),
        (SNAPSHOT, {"with": "try"}, ["init", "try"]),
        (SNAPSHOT, {"with": "shop/try@5m"}, ["init", "try"]),
        (BRANCH, {"with": "try"}, ["main", "try"]),
        (BRANCH, {"with": "shop@one"}, ["main", "main"]),
        (BRANCH, {"with": "shop", "at": "init"}, ["main", "main"]),
        (BRANCH, {"with": "shop", "at": "0/1000000"}, ["main", "main"]),
    ],
)
def test_a_diff_opens_both_moments(shop: Api, path: str, body: dict[str, str], opened: list[str]) -> None:
    before = shop.world()
    answer = shop.http.post(path, json={"action": "diff"} | body)
    assert [one["name"] for one in result(answer)["databases"]] == ["postgres"]
    steps = [json.loads(line)["name"] for line in answer.text.splitlines()[:-1]]
    assert steps == [f"open {one}" for one in opened]
    assert shop.world() == before


def test_a_moment_does_not_differ_from_itself(shop: Api) -> None:
    found = result(shop.http.post(SNAPSHOT, json={"action": "diff", "with": "init"}))
    assert (found["databases"], found["before"]) == ([], found["after"])


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (SNAPSHOT, {}, 422, "missing_field"),
        (SNAPSHOT, {"with": "one", "at": "5m"}, 422, "unknown_field"),
        (SNAPSHOT, {"with": "one@"}, 422, "bad_source"),
        (SNAPSHOT, {"with": "nowhere"}, 404, "no_such_source"),
        (SNAPSHOT, {"with": "shop/nowhere"}, 404, "no_such_branch"),
        (SNAPSHOT, {"with": "shop@0/2"}, 404, "no_such_moment"),
        (SNAPSHOT, {"with": "other/far"}, 422, "other_storage"),
        (SNAPSHOT, {"with": "other"}, 422, "other_storage"),
        (SNAPSHOT, {"with": "nothing/far"}, 404, "no_such_storage"),
        ("/snapshots/shop/nothing/actions", {"with": "one"}, 404, "no_snapshot"),
        ("/snapshots/nowhere/one/actions", {"with": "one"}, 404, "no_such_storage"),
        (BRANCH, {}, 422, "no_source"),
        (BRANCH, {"with": "far"}, 404, "no_such_source"),
        (BRANCH, {"with": "shop", "at": "5x"}, 422, "bad_moment"),
        (BRANCH, {"with": "shop", "at": "2999-01-01T00:00:00Z"}, 422, "future_moment"),
        (BRANCH, {"with": "shop", "at": "nothing"}, 404, "no_such_snapshot"),
        (BRANCH, {"with": "shop", "to": "5m"}, 422, "bad_action"),
        (BRANCH, {"with": "shop", "ttl": "5m"}, 422, "bad_action"),
        (BRANCH, {"with": "shop", "keep": "old"}, 422, "bad_action"),
        (BRANCH, {"action": "reset", "with": "shop"}, 422, "bad_action"),
        (BRANCH, {"action": "protect", "at": "5m"}, 422, "bad_action"),
        ("/storages/shop/branches/nowhere/actions", {"with": "shop"}, 404, "no_such_branch"),
    ],
)
def test_what_makes_no_sense_is_a_problem_with_its_own_status(
    shop: Api, path: str, body: dict[str, str], status: int, code: str
) -> None:
    refused = shop.http.post(path, json={"action": "diff"} | body)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_a_failure_after_the_first_step_is_the_last_line(shop: Api) -> None:
    shop.fixture.engine.faults.arm(1, after=True)
    answer = shop.http.post(SNAPSHOT, json={"action": "diff", "with": "one"})
    assert answer.status_code == 200
    assert json.loads(answer.text.splitlines()[-1])["problem"]["code"] == "injected"


def test_a_dry_run_has_nothing_to_do(shop: Api) -> None:
    for path in (SNAPSHOT, BRANCH):
        answer = shop.http.post(path, params={"dry_run": "true"}, json={"action": "diff", "with": "one"})
        assert answer.json() == {"plan": []}
