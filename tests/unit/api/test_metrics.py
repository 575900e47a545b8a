"""GET /metrics of a controller over fakes, as Prometheus's own parser reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from neon_compose.engine.metered import MeteredEngine
from neon_compose.engine.runtime import Engine
from neon_compose.errors import NotFound
from neon_compose.wire.safekeeper import BranchStatus
from tests.fakes import FakeEngine
from tests.prometheus import figures, key
from tests.unit.api.conftest import Api

UNITS = ("_seconds", "_bytes", "_total", "_info")
PLAIN = {  # numbers of things have no unit
    "pgs", "storages", "containers", "free_ports", "problems", "event_followers", "pageserver_up",
    "safekeeper_up", "safekeeper_receivers",
    "storage_branches", "storage_snapshots", "storage_busy", "storage_redo_failing",
    "pg_has_writes", "pg_settling", "pg_doubtful",
}  # fmt: skip
BRANCH = {"name": "try1", "storage_name": "shop", "from": "shop@init", "start": True}


def test_names_and_units_are_as_prometheus_wants_them(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    names = []
    for family in parsed(api.http.get("/metrics").text):
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter", "histogram"), family.name
        whole = family.name + ("_total" if family.type == "counter" else "")
        assert re.fullmatch(r"neon_compose_[a-z_]+", whole)
        short = whole.removeprefix("neon_compose_")
        assert short.endswith(UNITS) or short in PLAIN
        names.append(whole)
        keys = [(one.name, frozenset(one.labels.items())) for one in family.samples]
        assert len(keys) == len(set(keys)), family.name
    assert len(names) == len(set(names))


def test_it_wants_the_token(api: Api) -> None:
    assert api.http.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_pgs_storages_and_branches_are_counted_by_state_and_name(api: Api) -> None:
    api.http.put("/pgs", json=BRANCH)
    api.http.put("/pgs", json={"name": "idle", "storage_name": "shop"})
    found = figures(api.http)
    assert found[key("pgs", state="running")] == 1
    assert found[key("pgs", state="created")] == 1
    assert found[key("pgs", state="failed")] == 0
    assert found[key("storages", state="running")] == 1
    assert found[key("storage_branches", storage="shop")] == 2
    assert found[key("storage_size_bytes", storage="shop")] == 8192
    assert found[key("branch_own_bytes", pg="try1", storage="shop", branch="try1")] == 4096
    assert found[key("containers", component="compute", state="running")] == 1
    assert found[key("events_total", kind="pg_started")] == 1


def test_a_pageserver_that_died_is_down_and_the_rest_is_told(api: Api) -> None:
    api.http.put("/storages", json={"name": "crm", "type": "native"})
    api.fixture.engine.end("t_storage_crm")
    found = figures(api.http)
    assert (found[key("pageserver_up", storage="crm")], found[key("pageserver_up", storage="shop")]) == (0, 1)
    assert found[key("storages", state="stopped")] == 1
    assert key("storage_size_bytes", storage="crm") not in found


def test_a_safekeeper_that_hangs_is_down(api: Api) -> None:
    api.fixture.bring_safekeepers(2)
    api.fixture.safekeepers.silent.add(2)
    found = figures(api.http)
    assert [found[key("safekeeper_up", safekeeper=number)] for number in ("1", "2")] == [1, 0]
    assert found[key("safekeeper_free_bytes", safekeeper="1")] == 1 << 30
    assert found[key("containers", component="safekeeper", state="running")] == 2


def test_how_far_a_safekeeper_has_the_wal_of_a_pg_is_told(api: Api) -> None:
    api.fixture.bring_safekeepers(1)
    api.http.put("/pgs", json=BRANCH)
    site = api.fixture.site
    (compute,) = site.pageserver(site.snapshot(), "shop").computes()
    status = BranchStatus(
        branch_id=compute.branch_id, identity="0" * 32, promised=1, term=1, history=[], oldest="0/0",
        flushed="0/2000", committed="0/1000", counts=True, receiver="receiving",
    )  # fmt: skip
    api.fixture.safekeepers.branches[1] = [status, status.model_copy(update={"branch_id": "nobody's"})]
    found = figures(api.http)
    labels = {"safekeeper": "1", "pg": "try1", "storage": "shop", "branch": "try1"}
    assert found[key("safekeeper_flushed_bytes", **labels)] == 0x2000
    assert found[key("safekeeper_committed_bytes", **labels)] == 0x1000
    assert found[key("safekeeper_receivers", safekeeper="1", condition="receiving")] == 2


def test_requests_are_counted_by_route_and_status_also_refused_ones(api: Api) -> None:
    def count(
        found: Mapping[tuple[str, frozenset[tuple[str, str]]], float], route: str, status: str
    ) -> float:
        return found.get(key("http_requests_total", method="GET", route=route, status=status), 0)

    before = figures(api.http)
    for name in ("a", "b", "nobody"):
        assert api.http.get(f"/pgs/{name}").status_code == 404
    api.http.get("/status", headers={"Host": "evil.example"})
    api.http.get("/no/such/route")
    after = figures(api.http)
    assert count(after, "/pgs/{pg}", "404") - count(before, "/pgs/{pg}", "404") == 3
    assert count(after, "none", "403") - count(before, "none", "403") == 1
    assert count(after, "none", "404") - count(before, "none", "404") == 1
    assert "nobody" not in api.http.get("/metrics").text
    took = key("http_request_duration_seconds_count", method="GET", route="/pgs/{pg}")
    assert after[took] - before.get(took, 0) == 3


def test_a_metered_engine_counts_each_call_with_its_outcome() -> None:
    engine: Engine = MeteredEngine(FakeEngine())
    engine.observe(None)
    engine.observe(None)
    with pytest.raises(NotFound):
        engine.start("nobody")
    assert isinstance(engine, MeteredEngine)
    calls, times = engine.families()
    assert {(labels["call"], labels["outcome"]): value for _, labels, value in calls.samples} == {
        ("observe", "ok"): 2,
        ("start", "not_found"): 1,
    }
    assert {labels["call"] for suffix, labels, _ in times.samples if suffix == "_count"} == {
        "observe",
        "start",
    }
