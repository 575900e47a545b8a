from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from neon_compose.wait import Deadline, until
from neon_compose.wire.pageserver import Prepared
from tests.fakes_pageserver import FakePageserver
from tests.unit.api.conftest import Api

BRANCH = {"name": "try1", "storage_name": "shop", "from": "shop@init", "start": True}


def test_a_branch_a_pg_and_its_start_in_one_request(api: Api) -> None:
    made = api.http.put("/pgs", json=BRANCH)
    assert made.status_code == 201
    out = made.json()
    assert (out["state"], out["branch"], out["from"]) == ("running", "try1", "shop@init")
    assert out["url"] == "postgres://neon_admin@127.0.0.1:15432/postgres"
    assert "local" in out["note"]
    assert "prepare" in made.headers["server-timing"]
    again = api.http.put("/pgs", json=BRANCH)
    assert again.status_code == 200
    assert again.json() == api.http.get("/pgs/try1").json() | {
        key: again.json()[key] for key in ("settling", "has_writes", "own_bytes")
    }


def test_the_literal_commands_of_the_rfc(api: Api) -> None:
    assert api.http.put("/pgs", content='{ "name": "name", "storage_name": "shop" }').status_code == 201
    for action in ("start", "start", "stop", "stop", "restart"):
        answer = api.http.post("/pgs/name/actions", content=f'{{"action": "{action}"}}')
        assert answer.status_code == 200, answer.text
    assert [pg["name"] for pg in api.http.get("/pgs").json()] == ["name"]
    assert api.http.get("/pgs/name").json()["state"] == "running"
    assert api.http.delete("/pgs/name").status_code == 409
    api.http.post("/pgs/name/actions", json={"action": "stop"})
    assert api.http.delete("/pgs/name").status_code == 204
    assert api.http.delete("/storages/shop").status_code == 204
    assert api.http.get("/storages").json() == []


def test_is_replica_false_is_a_plain_start(api: Api) -> None:
    api.http.put("/pgs", json={"name": "a", "storage_name": "shop"})
    answer = api.http.post("/pgs/a/actions", json={"action": "start", "is_replica": False})
    assert answer.json()["state"] == "running"


def test_storage_branch_and_source_of_a_pg_never_change(api: Api) -> None:
    api.http.put("/storages", json={"name": "crm", "type": "native"})
    api.http.put("/pgs", json=BRANCH)
    for change in ({"storage_name": "crm", "from": "crm@init"}, {"branch": "main"}, {"from": "shop"}):
        answer = api.http.put("/pgs", json=BRANCH | change)
        assert answer.status_code == 409, answer.text
        assert answer.json()["code"] == "pg_exists"
        assert "asked for" in answer.json()["detail"]


def test_settings_port_and_durability_change_with_a_restart(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    changed = api.http.put("/pgs", json=BRANCH | {"settings": {"work_mem": "8MB"}, "port": 15440})
    assert changed.status_code == 200
    assert changed.json()["restart_needed"] is True
    assert changed.json()["port"] == 15440
    again = api.http.post("/pgs/try1/actions", json={"action": "restart"}).json()
    assert again["restart_needed"] is False
    assert again["settings"] == {"work_mem": "8MB"}
    kept = api.http.put("/pgs", json=BRANCH).json()
    assert kept["settings"] == {"work_mem": "8MB"}
    assert kept["port"] == 15440


def test_a_second_primary_is_a_conflict_even_while_the_first_is_stopped(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    second = api.http.put("/pgs", json={"name": "second", "storage_name": "shop", "branch": "try1"})
    assert second.status_code == 201
    assert 'has a primary, pg "try1"' in second.json()["note"]
    for _ in range(2):
        refused = api.http.post("/pgs/second/actions", json={"action": "start"})
        assert refused.status_code == 409
        assert "try1" in refused.json()["title"]
        assert refused.json()["hint"]
        api.http.post("/pgs/try1/actions", json={"action": "stop"})
    assert "t_pg_second" not in api.fixture.engine.boxes
    assert api.http.get("/pgs/second").json()["state"] == "created"


def test_a_branch_of_a_branch_with_writes_is_refused_with_the_moments_there_are(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    api.fixture.pageservers.store("shop").computes["try1"].has_writes = True
    before = api.world()
    refused = api.http.put("/pgs", json=BRANCH | {"name": "child", "from": "try1"})
    assert refused.status_code == 409
    assert "init" in refused.json()["detail"]
    assert api.world() == before


def test_a_pg_with_writes_is_destroyed_only_when_told_to_discard_them(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    api.http.post("/pgs/try1/actions", json={"action": "stop"})
    api.fixture.pageservers.store("shop").computes["try1"].has_writes = True
    before = api.world()
    assert api.http.delete("/pgs/try1").status_code == 409
    assert api.world() == before
    assert api.http.delete("/pgs/try1?discard_writes=true").status_code == 204
    assert [one["name"] for one in api.http.get("/storages/shop/branches").json()] == ["main", "try1"]


def test_a_branch_with_pgs_is_not_deleted(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    api.http.post("/pgs/try1/actions", json={"action": "stop"})
    refused = api.http.delete("/storages/shop/branches/try1")
    assert refused.status_code == 409
    assert "try1" in refused.json()["detail"]
    api.http.delete("/pgs/try1")
    assert api.http.delete("/storages/shop/branches/try1").status_code == 204


def test_the_url_has_the_password_and_the_other_ways_in(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    found = api.http.get("/pgs/try1/url").json()
    assert found["url"] == "postgres://neon_admin:s3%3Acret%2F@127.0.0.1:15432/postgres"
    assert found["direct"] == "postgres://neon_admin:s3%3Acret%2F@10.213.0.10:15432/postgres"
    assert "%2Fpg%2Ftry1%2F" in found["socket"]


def test_a_dry_run_says_what_would_happen_and_does_nothing(api: Api) -> None:
    before = api.world()
    plan = api.http.put("/pgs?dry_run=true", json=BRANCH).json()["plan"]
    assert [step["action"] for step in plan] == [
        "write document",
        "prepare",
        "create container",
        "lay out",
        "start and open",
    ]
    assert api.world() == before
    api.http.put("/pgs", json=BRANCH)
    before = api.world()
    assert api.http.post("/pgs/try1/actions?dry_run", json={"action": "stop"}).json()["plan"]
    api.http.post("/pgs/try1/actions?dry_run=1", json={"action": "restart"})
    assert api.world() == before


def test_a_dry_run_makes_no_pod(api: Api) -> None:
    before = api.world()
    plan = api.http.put("/pgs?dry_run=true", json=BRANCH | {"port": 16200}).json()["plan"]
    assert plan[0] == {"action": "make pod", "target": "t_pod_*", "why": "no running pod has port 16200"}
    assert len(plan) == 6
    assert api.world() == before
    api.http.put("/pgs", json=BRANCH)
    api.http.post("/pgs/try1/actions", json={"action": "stop"})
    api.fixture.engine.end("t_pod_0")
    before = api.world()
    plan = api.http.post("/pgs/try1/actions?dry_run=true", json={"action": "start"}).json()["plan"]
    assert plan[0]["target"] == "t_pod_0"
    assert api.world() == before


def test_identical_requests_at_once_do_the_work_once_and_others_are_busy(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    del monkeypatch
    api.fixture.pageservers.open_blocks_s = 0.4
    answers: list[int] = []

    def put(body: dict[str, object]) -> None:
        answers.append(api.http.put("/pgs", json=body).status_code)

    threads = [threading.Thread(target=put, args=(BRANCH,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not api.fixture.engine.running("t_pg_try1"):
        threading.Event().wait(0.01)
    other = api.http.post("/pgs/try1/actions", json={"action": "stop"})
    state = api.http.get("/pgs/try1").json()["state"]
    for thread in threads:
        thread.join()
    assert set(answers) <= {200, 201}
    assert other.status_code == 409
    assert other.json()["code"] == "busy"
    assert state == "starting"
    assert list(api.fixture.engine.boxes).count("t_pg_try1") == 1


def test_a_pageserver_that_does_not_run_is_said(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    api.fixture.engine.end("t_storage_shop", lines=["boom"])
    assert api.http.get("/pgs/try1").json()["has_writes"] is None
    assert api.http.get("/pgs").status_code == 200
    assert api.http.get("/storages/shop").json()["state"] == "stopped"
    refused = api.http.get("/pgs/try1/url")
    assert refused.status_code == 503
    assert refused.json()["code"] == "pageserver_down"


def test_a_pageserver_that_does_not_run_is_started_by_what_needs_it(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    for request in ({"action": "start"}, {"action": "restart"}):
        api.fixture.engine.end("t_storage_shop", lines=["boom"])
        assert api.http.post("/pgs/try1/actions", json=request).status_code == 200
        assert api.http.get("/storages/shop").json()["state"] == "running"
    api.fixture.engine.end("t_storage_shop", lines=["boom"])
    assert api.http.put("/pgs", json=BRANCH | {"name": "b"}).status_code == 201
    api.fixture.engine.end("t_storage_shop", lines=["boom"])
    assert api.http.put("/storages", json={"name": "shop", "type": "native"}).status_code == 200
    assert api.http.get("/storages/shop").json()["state"] == "running"


def test_a_defect_is_a_bug_and_no_traceback(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakePageserver):
        def prepare(self, *_: object, **__: object) -> Prepared:
            raise RuntimeError("secret stuff")

    address = api.fixture.site.snapshot().pageserver_address("shop")
    api.fixture.site.pageservers._clients[address] = Broken(api.fixture.pageservers, address)
    before = api.world()
    answer = api.http.put("/pgs", json=BRANCH)
    assert answer.status_code == 500
    assert answer.json()["kind"] == "bug"
    assert "secret" not in answer.text
    until("the log", lambda: "secret stuff" in caplog.text, Deadline.after(5))
    assert api.world() == before


def test_a_list_of_many_asks_the_engine_once_and_each_storage_once(api: Api) -> None:
    assert api.http.put("/storages", json={"name": "other", "type": "native"}).status_code == 201
    for storage in ("shop", "other"):
        for number in range(20):
            body = {"name": f"{storage}{number}", "storage_name": storage, "from": f"{storage}@init"}
            assert api.http.put("/pgs", json=body).status_code == 201
    site = api.fixture.site
    site.workers.shutdown(wait=True)  # what goes on in the background looks at the engine too
    site.workers = ThreadPoolExecutor(4)
    engine, pageservers = api.fixture.engine, api.fixture.pageservers
    engine.calls.clear()
    pageservers.looks.clear()
    assert len(api.http.get("/pgs").json()) == 40
    assert sorted(pageservers.looks) == ["computes of other", "computes of shop"]
    assert engine.calls == ["observe"]


def test_the_data_of_a_stopped_pg_is_discarded_if_safekeepers_have_it(api: Api) -> None:
    api.fixture.bring_safekeepers(1)
    api.http.put("/pgs", json=BRANCH)
    discard = {"action": "discard-cache"}
    assert api.http.post("/pgs/try1/actions", json=discard).json()["code"] == "pg_running"
    api.http.post("/pgs/try1/actions", json={"action": "stop"})
    before = api.world()
    plan = api.http.post("/pgs/try1/actions?dry_run=1", json=discard).json()["plan"]
    assert [step["action"] for step in plan] == ["discard data of"]
    assert api.world() == before
    assert api.http.post("/pgs/try1/actions", json=discard).status_code == 200
    assert not api.fixture.pageservers.store("shop").computes["try1"].laid_out
    assert api.http.post("/pgs/try1/actions", json={"action": "start"}).json()["state"] == "running"


def test_the_only_copy_of_its_data_is_not_discarded(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    api.http.post("/pgs/try1/actions", json={"action": "stop"})
    refused = api.http.post("/pgs/try1/actions", json={"action": "discard-cache"})
    assert (refused.status_code, refused.json()["code"]) == (409, "only_copy")
