from __future__ import annotations

import os
import shutil

import pytest

from neon_compose.controller.folder import UID
from tests.unit.api.conftest import Api


def test_attach_show_list_and_detach(api: Api) -> None:
    body = {"name": "crm", "type": "native", "path": "/srv/crm"}
    made = api.http.put("/storages", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["state"] == "running"
    assert made.json()["path"] == "/srv/crm"
    assert made.json()["snapshots"] == ["init"]
    assert api.http.put("/storages", json=body).status_code == 200
    assert [one["name"] for one in api.http.get("/storages").json()] == ["crm", "shop"]
    assert api.http.get("/storages/crm").json()["storage_id"] == "id-of-crm"
    assert api.http.delete("/storages/crm").status_code == 204
    assert (api.fixture.host / "srv/crm/storage.json").exists()
    again = api.http.put("/storages", json=body)
    assert again.status_code == 201, again.text
    assert api.http.delete("/storages/crm?purge=true").status_code == 204
    assert list(api.fixture.host.rglob("storage.json")) == []


def pageserver(api: Api) -> tuple[str, str, str]:
    """Its container's id, and which history it keeps."""
    box = api.fixture.engine.boxes["t_storage_shop"]
    env = box.spec.env
    return box.id, env["NEON_HISTORY_SECONDS"], env["NEON_HISTORY_BYTES"]


def test_the_history_that_a_storage_keeps_can_be_changed(api: Api) -> None:
    before = pageserver(api)
    assert before[1:] == (str(7 * 86400), str(10 << 30))
    body = {"name": "shop", "type": "native"}
    planned = api.http.put("/storages?dry_run=1", json=body | {"history": "2h"}).json()["plan"]
    assert planned[0]["why"] == "it keeps another history"
    assert pageserver(api) == before
    changed = api.http.put("/storages", json=body | {"history": "2h"})
    assert (changed.status_code, changed.json()["history"], changed.json()["history_size"]) == (
        200,
        "2h",
        "10GiB",
    )
    assert pageserver(api)[1:] == ("7200", str(10 << 30))
    none = api.http.put("/storages", json=body | {"history": "0", "history_size": "0"})
    assert none.status_code == 200
    after = pageserver(api)
    assert after[1:] == ("0", "0")
    assert api.http.put("/storages", json=body).json()["history"] == "0"
    assert pageserver(api) == after
    assert "history_from" in api.http.get("/storages/shop").json()
    assert "storage_changed" in api.http.get("/events").text


@pytest.mark.parametrize("given", [{"history": "1w"}, {"history": 7}, {"history_size": "10GB"}])
def test_a_history_that_is_none_is_refused(api: Api, given: dict[str, object]) -> None:
    before = api.world()
    refused = api.http.put("/storages", json={"name": "crm", "type": "native"} | given)
    assert refused.status_code in (400, 422), refused.text
    assert api.world() == before


def test_a_folder_with_other_things_gets_the_storage_in_one_of_its_own(api: Api) -> None:
    folder = api.fixture.host / "tmp"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, UID, UID)
    (folder / "notes.txt").touch()
    made = api.http.put("/storages", json={"name": "crm", "type": "native", "path": "/tmp"})
    assert made.json()["path"] == "/tmp/neon-crm"
    assert (
        api.http.put("/storages", json={"name": "crm", "type": "native", "path": "/tmp"}).status_code == 200
    )


@pytest.mark.parametrize("path", ["/srv/crm", "/srv/crm/layers", "/srv"])
def test_the_folder_of_another_storage_is_refused(api: Api, path: str) -> None:
    api.http.put("/storages", json={"name": "crm", "type": "native", "path": "/srv/crm"})
    before = api.world()
    refused = api.http.put("/storages", json={"name": "new", "type": "native", "path": path})
    assert refused.status_code == 409, refused.text
    assert refused.json()["code"] == "folder_taken"
    assert "crm" in refused.json()["title"]
    assert api.world() == before


def test_a_storage_with_pgs_is_not_detached(api: Api) -> None:
    api.http.put("/pgs", json={"name": "a", "storage_name": "shop"})
    refused = api.http.delete("/storages/shop")
    assert refused.status_code == 409
    assert '"a"' in refused.json()["detail"]


def test_data_of_a_detached_volume_comes_back(api: Api) -> None:
    api.http.put("/storages/shop/branches/b", json={"from": "shop@init"})
    api.http.delete("/storages/shop")
    api.http.put("/storages", json={"name": "shop", "type": "native"})
    assert [one["name"] for one in api.http.get("/storages/shop/branches").json()] == ["b", "main"]


def test_branches_are_made_shown_and_deleted(api: Api) -> None:
    made = api.http.put("/storages/shop/branches/b", json={"from": "shop@init"})
    assert made.status_code == 201
    assert (made.json()["parent"], made.json()["snapshot"]) == ("main", "init")
    assert (made.json()["start_lsn"], made.json()["own_bytes"]) == ("0/1000000", 4096)
    assert api.http.put("/storages/shop/branches/b", json={"from": "shop@init"}).status_code == 200
    assert api.http.put("/storages/shop/branches/b", json={}).status_code == 200
    assert api.http.put("/storages/shop/branches/b", json={"from": "shop"}).status_code == 409
    assert api.http.get("/storages/shop/branches/b").json() == made.json()
    assert api.http.delete("/storages/shop/branches/b").status_code == 204
    assert [one["name"] for one in api.http.get("/snapshots").json()] == ["init"]


def make_line(api: Api) -> None:
    for name, source in (("a", "shop"), ("b", "a"), ("c", "b"), ("d", "a"), ("other", "shop")):
        assert api.http.put(f"/storages/shop/branches/{name}", json={"from": source}).status_code == 201
    for name, source in (("of-b", "b"), ("of-other", "other")):
        assert api.http.put(f"/snapshots/shop/{name}", json={"from": source}).status_code == 201


def test_a_branch_that_is_needed_is_refused_and_goes_with_all_that_needs_it(api: Api) -> None:
    make_line(api)
    refused = api.http.delete("/storages/shop/branches/a")
    assert (refused.status_code, refused.json()["code"]) == (409, "branch_needed")
    assert refused.json()["detail"] == "b, d"
    planned = api.http.delete("/storages/shop/branches/a?cascade=true&dry_run=true")
    assert [step["target"] for step in planned.json()["plan"]] == [
        "branch shop/c", "branch shop/d", "snapshot shop/of-b", "branch shop/b", "branch shop/a",
    ]  # fmt: skip
    assert api.http.delete("/storages/shop/branches/a?cascade=true").status_code == 204
    assert [one["name"] for one in api.http.get("/storages/shop/branches").json()] == ["main", "other"]
    assert [one["name"] for one in api.http.get("/snapshots").json()] == ["init", "of-other"]


def test_all_or_nothing_of_a_line_goes(api: Api) -> None:
    make_line(api)
    assert api.http.put("/pgs", json={"name": "p", "storage_name": "shop", "branch": "c"}).status_code == 201
    before = api.world(), api.http.get("/storages/shop/branches").json(), api.http.get("/snapshots").json()
    for branch, code in (("a", "branch_in_use"), ("c", "branch_in_use"), ("main", "main_branch")):
        refused = api.http.delete(f"/storages/shop/branches/{branch}?cascade=true")
        assert (refused.status_code, refused.json()["code"]) == (409, code)
    after = api.world(), api.http.get("/storages/shop/branches").json(), api.http.get("/snapshots").json()
    assert after == before
    assert api.http.delete("/storages/shop/branches/nowhere?cascade=true").status_code == 404


def test_a_dry_run_attaches_and_detaches_nothing(api: Api) -> None:
    before = api.world()
    body = {"name": "crm", "type": "native", "path": "/srv/crm"}
    plan = api.http.put("/storages?dry_run=true", json=body).json()["plan"]
    assert plan[0] == {"action": "claim folder", "target": "/srv/crm", "why": ""}
    assert api.http.delete("/storages/shop?dry_run=true").json()["plan"]
    assert api.http.put("/storages/shop/branches/b?dry_run=true", json={"from": "shop@init"}).json()["plan"]
    assert api.world() == before


def test_an_import_from_the_engines_machine_tells_its_steps(api: Api) -> None:
    (api.fixture.host / "dump").write_bytes(b"PGDMP" + b"x" * 100)
    answer = api.http.put("/storages", json={"name": "crm", "type": "native", "import": "/dump"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = answer.text.splitlines()
    assert '"restore"' in answer.text
    assert '"result"' in lines[-1]
    assert api.http.get("/storages/crm").json()["snapshots"] == ["import"]
    again = api.http.put("/storages", json={"name": "crm", "type": "native", "import": "/dump"})
    assert '"result"' in again.text


CRM = {"name": "crm", "type": "native", "path": "/srv/crm"}


def test_a_folder_that_was_moved_is_followed(api: Api) -> None:
    api.http.put("/storages", json=CRM)
    (api.fixture.host / "srv/crm").rename(api.fixture.host / "srv/moved")
    found = api.http.put("/storages", json=CRM | {"path": "/srv/moved"})
    assert (found.status_code, found.json()["path"]) == (200, "/srv/moved")
    mounts = api.fixture.engine.boxes["t_storage_crm"].spec.mounts
    assert "/srv/moved" in [mount.source for mount in mounts]
    assert api.http.put("/storages", json=CRM | {"path": "/srv/moved"}).status_code == 200


def test_a_copy_beside_the_original_is_not_followed(api: Api) -> None:
    api.http.put("/storages", json=CRM)
    shutil.copytree(api.fixture.host / "srv/crm", api.fixture.host / "srv/copy")
    before = api.world()
    refused = api.http.put("/storages", json=CRM | {"path": "/srv/copy"})
    assert (refused.status_code, refused.json()["code"]) == (409, "storage_exists")
    assert api.world() == before


@pytest.mark.parametrize("path", ["/srv/other", "/srv/nowhere"])
def test_another_storage_and_no_folder_are_not_taken_for_a_moved_one(api: Api, path: str) -> None:
    api.http.put("/storages", json=CRM)
    (api.fixture.host / "srv/crm").rename(api.fixture.host / "srv/hidden")
    (api.fixture.host / "srv/other").mkdir()
    (api.fixture.host / "srv/other/storage.json").write_text('{"format": 1, "storage_id": "another"}')
    before = api.world()
    refused = api.http.put("/storages", json=CRM | {"path": path})
    assert (refused.status_code, refused.json()["code"]) == (409, "storage_exists")
    assert api.world() == before


def test_the_log_of_a_branch_is_its_newest_minutes(api: Api) -> None:
    api.http.put("/storages/shop/branches/b", json={"from": "shop@init"})
    whole = api.http.get("/storages/shop/branches/b/log").json()
    assert (len(whole["minutes"]), whole["more"]) == (3, False)
    assert {"minute", "commits", "catalog_changes", "first_lsn", "last_lsn", "wal_bytes"} == set(
        whole["minutes"][0]
    )
    newest = api.http.get("/storages/shop/branches/b/log?limit=1").json()
    assert (newest["minutes"], newest["more"]) == (whole["minutes"][-1:], True)


@pytest.mark.parametrize(
    ("where", "status"),
    [("shop/branches/nowhere/log", 404), ("nowhere/branches/main/log", 404), ("shop/branches/A_/log", 422)]
    + [(f"shop/branches/main/log?limit={bad}", 422) for bad in ("0", "10001", "x", "")],
)
def test_a_log_that_can_not_be_had_is_refused(api: Api, where: str, status: int) -> None:
    assert api.http.get(f"/storages/{where}").status_code == status
