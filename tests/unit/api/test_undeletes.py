"""Taking deleted branches back over REST."""

from __future__ import annotations

from tests.unit.api.conftest import Api

BRANCH = "/storages/shop/branches/try1"
ACTIONS = f"{BRANCH}/actions"
DELETED = "/storages/shop/deleted-branches"


def branch(api: Api, name: str = "try1", source: str = "shop@init") -> None:
    answer = api.http.put(f"/storages/shop/branches/{name}", json={"from": source})
    assert answer.status_code in (200, 201), answer.text


def deleted(api: Api) -> list[str]:
    return [one["name"] for one in api.http.get(DELETED).json()]


def test_a_deleted_branch_is_listed_and_comes_back(api: Api) -> None:
    branch(api)
    assert api.http.delete(BRANCH).status_code == 204
    [one] = api.http.get(DELETED).json()
    assert (one["storage_name"], one["name"], one["parent"], one["left_s"]) == ("shop", "try1", "main", 86400)
    planned = api.http.post(f"{ACTIONS}?dry_run=1", json={"action": "undelete"}).json()["plan"]
    assert [(step["action"], step["target"]) for step in planned] == [("take back", "branch shop/try1")]
    assert deleted(api) == ["try1"]
    back = api.http.post(ACTIONS, json={"action": "undelete"})
    assert (back.status_code, back.json()["name"]) == (200, "try1")
    assert deleted(api) == []
    assert api.http.get(BRANCH).status_code == 200
    assert "branch_undeleted" in api.http.get("/events").text


def test_one_whose_name_was_taken_comes_back_under_another(api: Api) -> None:
    branch(api)
    api.http.delete(BRANCH)
    branch(api)
    taken = api.http.post(ACTIONS, json={"action": "undelete"})
    assert (taken.status_code, taken.json()["code"]) == (409, "branch_exists")
    back = api.http.post(ACTIONS, json={"action": "undelete", "as": "other"})
    assert (back.status_code, back.json()["name"]) == (200, "other")


def test_what_is_deleted_now_does_not_come_back(api: Api) -> None:
    branch(api)
    assert api.http.delete(f"{BRANCH}?now=1").status_code == 204
    assert deleted(api) == []
    gone = api.http.post(ACTIONS, json={"action": "undelete"})
    assert (gone.status_code, gone.json()["code"]) == (404, "no_deleted_branch")


def test_a_deleted_branch_can_be_deleted_for_good(api: Api) -> None:
    branch(api)
    api.http.delete(BRANCH)
    assert api.http.delete(BRANCH).status_code == 404
    planned = api.http.delete(f"{BRANCH}?now=1&dry_run=1").json()["plan"]
    assert [step["action"] for step in planned] == ["remove for good"]
    assert api.http.delete(f"{BRANCH}?now=1").status_code == 204
    assert deleted(api) == []
    assert api.http.delete(f"{BRANCH}?now=1").status_code == 404


def test_a_family_is_deleted_and_comes_back_parents_first(api: Api) -> None:
    branch(api)
    branch(api, "child", "shop/try1")
    assert api.http.delete(f"{BRANCH}?cascade=1").status_code == 204
    assert deleted(api) == ["try1", "child"]
    child = "/storages/shop/branches/child/actions"
    assert api.http.post(child, json={"action": "undelete"}).json()["code"] == "parent_deleted"
    assert api.http.post(ACTIONS, json={"action": "undelete"}).status_code == 200
    assert api.http.post(child, json={"action": "undelete"}).status_code == 200


def test_an_undelete_takes_a_name_only_and_no_other_action_does(api: Api) -> None:
    branch(api)
    for body in (
        {"action": "undelete", "ttl": "2h"},
        {"action": "undelete", "to": "5m"},
        {"action": "undelete", "keep": "x"},
        {"action": "undelete", "as": "No"},
        {"action": "protect", "as": "x"},
        {"action": "restore", "to": "init", "as": "x"},
    ):
        refused = api.http.post(ACTIONS, json=body)
        assert refused.status_code == 422, refused.text
