"""Two requests at once about the same thing: the same one joins, another is busy; never a 500, never half."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from neon_compose.wait import Deadline, until
from tests.unit.api.conftest import Api

BRANCH = {"name": "a", "storage_name": "shop", "from": "shop@init", "start": True}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@contextmanager
def held(api: Api, change: str) -> Iterator[threading.Event]:
    """Whoever comes to `change` waits there until the block ends; the event says that somebody has."""
    there, go_on = threading.Event(), threading.Event()

    def wait(what: str) -> None:
        if what == change:
            there.set()
            assert go_on.wait(20)

    api.fixture.faults.before = wait
    try:
        yield there
    finally:
        go_on.set()
        api.fixture.faults.before = lambda _: None


def await_joiners(api: Api, count: int) -> None:
    until("requests to join", lambda: api.fixture.site.locks.joined("pg/a") == count, Deadline.after(20))


def done_once(api: Api, what: str) -> None:
    assert api.fixture.faults.seen.count(what) == 1


def refused(answer: httpx.Response, code: str, status: int = 409) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def stopped(api: Api) -> None:
    assert api.http.put("/pgs", json=BRANCH).status_code == 201
    assert api.http.post("/pgs/a/actions", json={"action": "stop"}).status_code == 200


def test_a_pg_that_is_being_destroyed_says_so_and_is_busy_then_gone(
    api: Api, pool: ThreadPoolExecutor
) -> None:
    stopped(api)
    with held(api, "delete compute a") as there:
        first = pool.submit(api.http.delete, "/pgs/a")
        assert there.wait(20)
        second = pool.submit(api.http.delete, "/pgs/a")
        await_joiners(api, 1)
        for request in ({"action": "start"}, {"action": "restart"}, {"action": "stop"}):
            answer = api.http.post("/pgs/a/actions", json=request)
            refused(answer, "busy")
            assert '"destroy"' in answer.json()["detail"]
        refused(api.http.put("/pgs", json=BRANCH), "busy")
        refused(api.http.delete("/pgs/a?discard_writes=true"), "busy")
        for shown in (api.http.get("/pgs").json()[0], api.http.get("/pgs/a").json()):
            assert shown["name"] == "a"
            assert f"its name and port {shown['port']} are free after that" in shown["note"]
        assert api.http.get("/pgs/a/url").status_code == 200
    assert first.result(20).status_code == second.result(20).status_code == 204
    done_once(api, "delete compute a")
    refused(api.http.post("/pgs/a/actions", json={"action": "start"}), "no_such_pg", 404)
    assert api.http.put("/pgs", json=BRANCH).status_code == 201


def test_whoever_joined_gets_the_refusal_too(api: Api, pool: ThreadPoolExecutor) -> None:
    stopped(api)
    api.fixture.pageservers.store("shop").computes["a"].has_writes = True
    with held(api, "delete compute a") as there:
        first = pool.submit(api.http.delete, "/pgs/a")
        assert there.wait(20)
        others = [pool.submit(api.http.delete, "/pgs/a") for _ in range(3)]
        await_joiners(api, 3)
    for answer in (first, *others):
        refused(answer.result(20), "has_writes")
    done_once(api, "delete compute a")
    assert api.http.get("/pgs/a").json()["state"] == "stopped"


def test_the_same_start_joins_and_another_action_is_busy(api: Api, pool: ThreadPoolExecutor) -> None:
    stopped(api)
    api.fixture.faults.seen.clear()
    with held(api, "layout a") as there:
        starts = [pool.submit(api.http.post, "/pgs/a/actions", json={"action": "start"})]
        assert there.wait(20)
        starts += [pool.submit(api.http.post, "/pgs/a/actions", json={"action": "start"}) for _ in range(3)]
        await_joiners(api, 3)
        for action in ("stop", "restart"):
            refused(api.http.post("/pgs/a/actions", json={"action": action}), "busy")
        refused(api.http.delete("/pgs/a"), "busy")
        refused(api.http.delete("/storages/shop"), "busy")
    answers = [one.result(20) for one in starts]
    assert [one.status_code for one in answers] == [200] * 4
    assert all(one.json() == answers[0].json() for one in answers)
    done_once(api, "layout a")


def test_a_branch_that_is_being_deleted_gets_no_pg(api: Api, pool: ThreadPoolExecutor) -> None:
    assert api.http.put("/storages/shop/branches/b", json={"from": "shop@init"}).status_code == 201
    before = api.http.get("/pgs").json()
    with held(api, "delete branch b") as there:
        gone = pool.submit(api.http.delete, "/storages/shop/branches/b")
        assert there.wait(20)
        refused(api.http.put("/pgs", json={"name": "a", "storage_name": "shop", "branch": "b"}), "busy")
        refused(api.http.put("/storages/shop/branches/b", json={"from": "shop@init"}), "busy")
    assert gone.result(20).status_code == 204
    assert api.http.get("/pgs").json() == before


def test_a_branch_that_is_getting_a_pg_is_not_deleted(api: Api, pool: ThreadPoolExecutor) -> None:
    assert api.http.put("/storages/shop/branches/b", json={"from": "shop@init"}).status_code == 201
    body = {"name": "a", "storage_name": "shop", "branch": "b"}
    with held(api, "put PgDoc") as there:
        made = pool.submit(api.http.put, "/pgs", json=body)
        assert there.wait(20)
        refused(api.http.delete("/storages/shop/branches/b"), "busy")
        other = api.http.put("/storages/shop/branches/c", json={"from": "shop@init"})
        assert other.status_code == 201
    assert made.result(20).status_code == 201
    refused(api.http.delete("/storages/shop/branches/b"), "branch_in_use")


def test_two_pgs_on_one_branch_are_made_beside_each_other(api: Api, pool: ThreadPoolExecutor) -> None:
    assert api.http.put("/storages/shop/branches/b", json={"from": "shop@init"}).status_code == 201
    bodies = [{"name": name, "storage_name": "shop", "branch": "b"} for name in ("a", "c")]
    answers = list(pool.map(lambda body: api.http.put("/pgs", json=body), bodies))
    assert [one.status_code for one in answers] == [201, 201]
