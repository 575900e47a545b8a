"""Every bad input of the issue: the right status, a problem document, and nothing left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import Api

BAD_NAMES = ["", "a" * 41, "Shop", "a/b", "..", "a\0b", "$(id)", "a;b", "a_b", "-a", "a-", "1a", "é", "a b"]
PG = {"name": "x", "storage_name": "shop"}
STORAGE = {"name": "x", "type": "native"}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_wherever_one_is_given(api: Api, name: str) -> None:
    before = api.world()
    for path, body in (
        ("/storages", STORAGE | {"name": name}),
        ("/pgs", PG | {"name": name}),
        ("/pgs", PG | {"storage_name": name}),
        ("/pgs", PG | {"branch": name, "from": "shop@init"}),
        ("/pgs", PG | {"from": f"{name}@init"}),
        ("/storages/shop/branches/x", {"from": f"shop@{name}"}),
    ):
        if name == "a/b" and body.get("from") in ("a/b@init", "shop@a/b"):
            continue  # a storage and a branch, an LSN
        answer = api.http.put(path, json=body)
        assert answer.status_code == 422, (path, body, answer.text)
        assert answer.json()["hint"], (path, body)
    assert api.world() == before


@pytest.mark.parametrize("name", ["Shop", "a_b", "%00", "a%20b", "%24%28id%29"])
def test_a_bad_name_in_a_path_is_refused(api: Api, name: str) -> None:
    for method, path in (
        ("GET", f"/storages/{name}"),
        ("DELETE", f"/storages/{name}"),
        ("GET", f"/pgs/{name}"),
        ("DELETE", f"/pgs/{name}"),
        ("GET", f"/pgs/{name}/url"),
        ("GET", f"/storages/shop/branches/{name}"),
        ("DELETE", f"/storages/shop/branches/{name}"),
        ("PUT", f"/storages/{name}/import"),
    ):
        answer = api.http.request(method, path)
        assert answer.status_code == 422, (method, path, answer.text)
        assert answer.json()["code"] == "bad_name"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", "/pgs", PG | {"storage_name": "shpo"}, 404, "no_such_storage"),
        ("PUT", "/pgs", PG | {"branch": "nowhere"}, 404, "no_such_branch"),
        ("PUT", "/pgs", PG | {"from": "shop@nowhere"}, 404, "no_such_snapshot"),
        ("PUT", "/pgs", PG | {"from": "nowhere@init"}, 404, "no_such_source"),
        ("PUT", "/pgs", PG | {"from": "nowhere/main@init"}, 404, "no_such_storage"),
        ("PUT", "/pgs", PG | {"from": "shop@5x"}, 422, "bad_moment"),
        ("PUT", "/pgs", PG | {"from": "shop@2026-11-23T04:00:00"}, 422, "bad_moment"),
        ("PUT", "/pgs", PG | {"from": "shop@2999-11-23T04:00:00Z"}, 422, "future_moment"),
        ("PUT", "/pgs", PG | {"from": "shop@0/1A2X"}, 422, "bad_moment"),
        ("PUT", "/pgs", PG | {"from": "shop@"}, 422, "bad_source"),
        ("PUT", "/pgs", PG | {"from": ""}, 422, "bad_name"),
        ("PUT", "/pgs", PG | {"port": 80}, 422, "bad_value"),
        ("PUT", "/pgs", PG | {"port": 80000}, 422, "bad_value"),
        ("PUT", "/pgs", PG | {"port": "15432"}, 422, "bad_value"),
        ("PUT", "/pgs", PG | {"start": "yes"}, 422, "bad_value"),
        ("PUT", "/pgs", PG | {"durability": "quorum"}, 422, "no_safekeepers"),
        ("PUT", "/pgs", PG | {"durability": "eventual"}, 422, "bad_value"),
        ("PUT", "/pgs", PG | {"settings": {"fsync": "off"}}, 422, "bad_setting"),
        ("PUT", "/pgs", PG | {"settings": ["fsync"]}, 422, "bad_value"),
        ("PUT", "/pgs", PG | {"settings": {"work_mem": None}}, 422, "bad_value"),
        ("PUT", "/pgs", {"name": "x"}, 422, "missing_field"),
        ("PUT", "/pgs", PG | {"nam": "y"}, 422, "unknown_field"),
        ("PUT", "/pgs", [], 422, "bad_value"),
        ("PUT", "/pgs", None, 422, "missing_field"),
        ("PUT", "/pgs", "x", 422, "bad_value"),
        ("GET", "/pgs/nowhere", None, 404, "no_such_pg"),
        ("GET", "/pgs/nowhere/url", None, 404, "no_such_pg"),
        ("DELETE", "/pgs/nowhere", None, 404, "no_such_pg"),
        ("POST", "/pgs/nowhere/actions", {"action": "start"}, 404, "no_such_pg"),
        ("POST", "/pgs/x/actions", {"action": "dance"}, 422, "bad_value"),
        ("POST", "/pgs/x/actions", {"action": "promote"}, 422, "not_available"),
        ("POST", "/pgs/x/actions", {"action": "checkout"}, 422, "no_branch_given"),
        ("POST", "/pgs/x/actions", {"action": "start", "branch": "main"}, 422, "no_branch_given"),
        ("POST", "/pgs/x/actions", {"action": "checkout", "branch": "A"}, 422, "bad_name"),
        ("POST", "/pgs/x/actions", {"action": "start", "is_replica": "replica"}, 422, "not_available"),
        ("POST", "/pgs/x/actions", {"action": "start", "is_replica": True}, 422, "not_available"),
        ("POST", "/pgs/x/actions", {"action": "start", "is_replica": "primary"}, 422, "bad_value"),
        ("POST", "/pgs/x/actions", {}, 422, "missing_field"),
        ("PUT", "/storages", STORAGE | {"type": "floppy"}, 422, "bad_value"),
        ("PUT", "/storages", STORAGE | {"type": "s3", "path": "s3://b/p"}, 422, "not_available"),
        ("PUT", "/storages", STORAGE | {"path": "relative/path"}, 422, "path_not_absolute"),
        ("PUT", "/storages", STORAGE | {"path": "/a/../b"}, 422, "bad_path"),
        ("PUT", "/storages", STORAGE | {"path": "/a\0b"}, 422, "bad_path"),
        ("PUT", "/storages", STORAGE | {"path": ""}, 422, "path_not_absolute"),
        ("PUT", "/storages", STORAGE | {"path": "/file"}, 422, "path_is_file"),
        ("PUT", "/storages", STORAGE | {"path": "/file/below"}, 422, "path_is_file"),
        ("PUT", "/storages", STORAGE | {"path": "/pgdata"}, 422, "data_directory"),
        ("PUT", "/storages", STORAGE | {"path": "/newer"}, 409, "newer_format"),
        ("PUT", "/storages", STORAGE | {"import": "dump.sql"}, 422, "path_not_absolute"),
        ("PUT", "/storages", STORAGE | {"import": "/nowhere.sql"}, 404, "path_missing"),
        ("PUT", "/storages", STORAGE | {"import": "/file"}, 422, "not_a_dump"),
        ("PUT", "/storages", STORAGE | {"imprt": "/file"}, 422, "unknown_field"),
        ("PUT", "/storages", {"name": "shop", "type": "native", "path": "/new"}, 409, "storage_exists"),
        ("PUT", "/storages", {"name": "shop", "type": "native", "import": "/file"}, 409, "storage_exists"),
        ("DELETE", "/storages/nowhere", None, 404, "no_such_storage"),
        ("GET", "/storages/nowhere", None, 404, "no_such_storage"),
        ("GET", "/storages/nowhere/branches", None, 404, "no_such_storage"),
        ("GET", "/storages/shop/branches/nowhere", None, 404, "no_such_branch"),
        ("DELETE", "/storages/shop/branches/nowhere", None, 404, "no_such_branch"),
        ("DELETE", "/storages/shop/branches/main", None, 409, "branch_in_use"),
        ("PUT", "/storages/shop/branches/b", {}, 404, "no_such_branch"),
        ("PUT", "/storages/shop/branches/b", {"from": "shop@nope"}, 404, "no_such_snapshot"),
        ("PUT", "/stack", {"config": {"storages": []}}, 422, "bad_stack_file"),
        ("PUT", "/stack", {"config": {"name": "A_B"}}, 422, "bad_stack_file"),
        ("PUT", "/stack", {"images": {}}, 422, "missing_field"),
        ("GET", "/components/nowhere", None, 404, "no_such_component"),
        ("GET", "/no/such/route", None, 404, "no_such_route"),
        ("GET", "/storages/", None, 404, "no_such_route"),
        ("PATCH", "/pgs", {}, 405, "bad_method"),
        ("DELETE", "/pgs/x?discard_write=true", None, 422, "unknown_parameter"),
        ("DELETE", "/pgs/x?dryrun=1", None, 422, "unknown_parameter"),
        ("DELETE", "/storages/shop?purge=perhaps", None, 422, "bad_value"),
    ],
)
def test_a_bad_request_is_refused_and_leaves_nothing(
    api: Api, method: str, path: str, body: Any, status: int, code: str
) -> None:
    host = api.fixture.host
    (host / "file").write_text("not a dump")
    (host / "pgdata").mkdir()
    (host / "pgdata" / "PG_VERSION").write_text("17")
    (host / "newer").mkdir()
    (host / "newer" / "storage.json").write_text('{"format": 99, "storage_id": "x"}')
    before = api.world()
    answer = api.http.request(method, path, json=body) if method != "GET" else api.http.get(path)
    problem = (
        answer.json() if answer.headers["content-type"] == "application/problem+json" else _last(answer.text)
    )
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert problem["title"]
    assert api.world() == before


def _last(lines: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(lines.splitlines()[-1])["problem"]
    return found


@pytest.mark.parametrize(
    ("path", "body", "hint"),
    [
        ("/pgs", PG | {"storage": "shop"}, "storage_name"),
        ("/pgs", PG | {"form": "shop@init"}, "from"),
        ("/storages", STORAGE | {"type": "natve"}, "native"),
        ("/storages", STORAGE | {"pth": "/x"}, "path"),
        ("/pgs", PG | {"storage_name": "shp"}, "shop"),
        ("/pgs/x/actions", {"action": "strat"}, "start"),
    ],
)
def test_the_nearest_known_word_is_named(api: Api, path: str, body: dict[str, Any], hint: str) -> None:
    answer = api.http.request("POST" if path.endswith("actions") else "PUT", path, json=body)
    assert f'Did you mean "{hint}"?' in answer.json()["hint"], answer.text


def test_all_problems_of_a_body_are_told(api: Api) -> None:
    problem = api.http.put("/pgs", json={"nam": "x", "port": 1}).json()
    told = problem["title"] + problem["detail"]
    assert all(word in told for word in ("name", "storage_name", "nam", "port"))
