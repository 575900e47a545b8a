from __future__ import annotations

import json
from typing import Any

import httpx

from neon_compose.api.app import create_app
from tests.serving import served
from tests.unit.api.conftest import Api

CONFIG: dict[str, Any] = {
    "name": "t",
    "minio": False,
    "storages": {"main": {}},
    "pgs": {"main": {"storage_name": "main"}},
}


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_stack_is_brought_up_stopped_and_brought_up_again(api: Api) -> None:
    first = lines(api.http.put("/stack", json={"config": CONFIG}))
    assert first[-1]["result"]["problems"] == []
    assert [pg["state"] for pg in first[-1]["result"]["pgs"]] == ["running"]
    stopped = lines(api.http.post("/stack/stop"))
    assert "result" in stopped[-1]
    assert not any(box.state == "running" for box in api.fixture.engine.boxes.values())
    assert api.http.get("/status").json()["busy"] == "stopped"
    assert api.http.get("/pgs/main").json()["state"] == "stopped"
    assert lines(api.http.put("/stack", json={"config": CONFIG}))[-1]["result"]["problems"] == []
    assert api.http.get("/pgs/main").json()["state"] == "running"


def test_the_plan_for_a_stack_can_be_seen_before(api: Api) -> None:
    before = api.world()
    plan = api.http.put("/stack?dry_run=true", json={"config": CONFIG}).json()["plan"]
    assert "storage main" in [step["target"] for step in plan]
    assert "pg main" in [step["target"] for step in plan]
    assert api.http.post("/stack/stop?dry_run=true").json()["plan"]
    assert api.world() == before


def test_status_and_components_show_what_runs(api: Api) -> None:
    status = api.http.get("/status").json()
    assert status["stack"] == "t"
    assert {one["name"]: one["healthy"] for one in status["components"]} == {
        "t_pod_0": None,
        "t_storage_shop": True,
    }
    assert api.http.get("/components").json() == status["components"]
    assert api.http.get("/components/t_pod_0").json()["ports"] == "15432-15447"


def test_every_route_documents_the_problems_it_may_answer(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    assert "/pgs/{pg}/actions" in document["paths"]
    for path, methods in document["paths"].items():
        if path == "/healthz":
            continue
        for method, route in methods.items():
            told = set(route["responses"])
            assert {"401", "403", "500", "503", "504"} <= told, (method, path)
            if method in ("put", "post") and "json" in str(route.get("requestBody")):
                assert {"400", "413", "422"} <= told, (method, path)
    schemas = document["components"]["schemas"]
    assert "from" in schemas["PgIn"]["properties"]
    assert "Problem" in schemas


def test_a_controller_that_owns_its_stack_brings_it_back_and_stops_it_at_the_end(api: Api) -> None:
    api.http.put("/stack", json={"config": CONFIG})
    engine = api.fixture.engine
    engine.end("t_pg_main")
    site = api.fixture.again()
    with served(create_app(site)) as url:
        assert httpx.get(f"{url}/healthz", trust_env=False).json() == {"ok": True}
        site.ready.wait(10)
        assert engine.running("t_pg_main")
    assert not any(box.state == "running" for box in engine.boxes.values())
    assert site.documents.read().pgs["main"].wanted == "running"
