"""Snapshots and moments over HTTP: what is made, what a repeat is, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from neon_compose.model.moments import Time, parse_moment
from neon_compose.model.source import parse_source
from tests.unit.api.conftest import Api

ONE = "/snapshots/shop/one"


def test_snapshots_are_made_shown_and_deleted(api: Api) -> None:
    made = api.http.put(ONE, json={"from": "shop"})
    assert made.status_code == 201, made.text
    assert made.json().items() >= {"name": "one", "storage_name": "shop", "branch": "main"}.items()
    assert api.http.put(ONE, json={"from": "shop"}).status_code == 200
    assert api.http.get(ONE).json() == made.json()
    assert [one["name"] for one in api.http.get("/snapshots").json()] == ["init", "one"]
    assert api.http.get("/storages/shop").json()["snapshots"] == ["init", "one"]
    assert api.http.put("/storages/shop/branches/b", json={"from": "shop@one"}).status_code == 201
    assert api.http.delete(ONE).status_code == 204
    assert api.http.get(ONE).status_code == 404
    assert api.http.get("/storages/shop/branches/b").status_code == 200


def test_a_name_that_is_taken_is_a_conflict(api: Api) -> None:
    api.http.put(ONE, json={"from": "shop"})
    refused = api.http.put(ONE, json={"from": "shop@0/1000000"})
    assert (refused.status_code, refused.json()["code"]) == (409, "snapshot_exists")
    assert api.http.get(ONE).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", ONE, {}, 422, "missing_field"),
        ("PUT", ONE, {"from": None}, 422, "bad_value"),
        ("PUT", ONE, {"from": "shop", "lsn": "0/1"}, 422, "unknown_field"),
        ("PUT", ONE, {"from": "shop@"}, 422, "bad_source"),
        ("PUT", ONE, {"from": "shop@5x"}, 422, "bad_moment"),
        ("PUT", ONE, {"from": "shop@2999-01-01T00:00:00Z"}, 422, "future_moment"),
        ("PUT", ONE, {"from": "shop@0/2"}, 404, "no_such_moment"),
        ("PUT", ONE, {"from": "shop@nothing"}, 404, "no_such_snapshot"),
        ("PUT", ONE, {"from": "nowhere"}, 404, "no_such_source"),
        ("PUT", ONE, {"from": "shop/nowhere"}, 404, "no_such_branch"),
        ("PUT", "/snapshots/nowhere/one", {"from": "shop"}, 404, "no_such_storage"),
        ("PUT", "/snapshots/shop/One", {"from": "shop"}, 422, "bad_name"),
        ("GET", "/snapshots/shop/nothing", None, 404, "no_such_snapshot"),
        ("GET", "/snapshots/nowhere/one", None, 404, "no_such_storage"),
        ("DELETE", "/snapshots/shop/nothing", None, 404, "no_snapshot"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    api: Api, method: str, path: str, body: object, status: int, code: str
) -> None:
    before = api.world()
    answer = api.http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert api.world() == before
    assert [one["name"] for one in api.http.get("/snapshots").json()] == ["init"]


def test_a_source_in_another_storage_is_refused(api: Api) -> None:
    api.http.put("/storages", json={"name": "crm", "type": "native"})
    refused = api.http.put("/snapshots/crm/one", json={"from": "shop/main"})
    assert (refused.status_code, refused.json()["code"]) == (422, "other_storage")


def test_a_dry_run_makes_and_deletes_none(api: Api) -> None:
    made = api.http.put(f"{ONE}?dry_run=true", json={"from": "shop@5m"})
    assert [step["action"] for step in made.json()["plan"]] == ["make snapshot"]
    assert api.http.get(ONE).status_code == 404
    gone = api.http.delete("/snapshots/shop/init?dry_run=true")
    assert [step["target"] for step in gone.json()["plan"]] == ["snapshot shop/init"]
    assert api.http.get("/snapshots/shop/init").status_code == 200


# ---- moments of branches


def test_how_long_ago_is_stored_as_the_time_it_meant(api: Api) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    made = api.http.put("/pgs", json={"name": "try1", "storage_name": "shop", "from": "shop@5m"})
    assert made.status_code == 201, made.text
    moment = parse_source(made.json()["from"]).moment
    assert isinstance(moment, Time)
    assert before <= moment.at <= datetime.now(UTC) - timedelta(minutes=5)
    again = {"name": "try1", "storage_name": "shop", "from": made.json()["from"]}
    assert api.http.put("/pgs", json=again).status_code == 200
    refused = api.http.put("/pgs", json={"name": "try1", "storage_name": "shop", "from": "shop@5m"})
    assert (refused.status_code, refused.json()["code"]) == (409, "pg_exists")


def test_one_moment_may_be_written_in_many_ways(api: Api) -> None:
    texts = ("2020-11-28T10:00:00Z", "2020-11-28 11:00:00+01:00", "2020-11-28T10:00Z")
    assert len({str(parse_moment(text)) for text in texts}) == 1
    for number, text in enumerate(texts):
        made = api.http.put("/storages/shop/branches/c", json={"from": f"shop@{text}"})
        assert made.status_code == (200 if number else 201), made.text
