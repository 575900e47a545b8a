"""GET /events over a socket: with an end and without, as lines and as server-sent events."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from neon_compose.api.__main__ import Server
from neon_compose.api.app import create_app
from neon_compose.api.events import SSE
from neon_compose.controller.events import FOLLOWERS
from neon_compose.wait import Deadline, until
from neon_compose.wire.events import EventKind, EventOut
from tests.serving import in_thread
from tests.site import made
from tests.unit.api.conftest import Api


def events(api: Api, **params: Any) -> list[EventOut]:
    answer = api.http.get("/events", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [EventOut.model_validate_json(line) for line in answer.text.splitlines()]


@pytest.fixture
def followed(api: Api) -> Iterator[Iterator[str]]:
    with api.http.stream("GET", "/events", params={"follow": "true"}) as answer:
        yield answer.iter_lines()


def test_without_follow_the_known_ones_are_told_and_the_answer_ends(api: Api) -> None:
    assert [(one.kind, one.name) for one in events(api)][-1] == (EventKind.STORAGE_ATTACHED, "shop")


def test_since_takes_an_id_a_time_or_how_long_ago(api: Api) -> None:
    known = events(api)
    assert events(api, since=known[0].id) == known[1:]
    assert events(api, since=known[1].at.isoformat()) == known[1:]
    assert events(api, since="1h") == known
    assert events(api, since="2100-01-01T00:00:00Z") == []


@pytest.mark.parametrize("since", ["yesterday", "12", "1" * 5000, "2026-11-28T10:00:00"])
def test_what_is_no_moment_is_422(api: Api, since: str) -> None:
    refused = api.http.get("/events", params={"since": since})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_moment")


def test_a_follower_hears_only_what_comes_and_at_once(api: Api, followed: Iterator[str]) -> None:
    api.http.put("/pgs", json={"name": "a", "storage_name": "shop"})
    first = json.loads(next(followed))
    assert (first["kind"], first["name"]) == ("pg_created", "a")


def test_a_follower_that_goes_away_is_forgotten(api: Api) -> None:
    log = api.fixture.site.events
    for _ in range(3):
        with api.http.stream("GET", "/events", params={"follow": "true"}):
            until("it", lambda: log.followers == 1, Deadline.after(30))
        until("its end", lambda: log.followers == 0, Deadline.after(30))


def test_more_followers_than_threads_keep_nobody_from_working(api: Api) -> None:
    log = api.fixture.site.events
    with contextlib.ExitStack() as stack:
        for _ in range(FOLLOWERS):
            http = stack.enter_context(
                httpx.Client(base_url=api.url, headers=api.http.headers, trust_env=False, verify=False)
            )
            stack.enter_context(http.stream("GET", "/events", params={"follow": "true"}))
        until("all", lambda: log.followers == FOLLOWERS, Deadline.after(60))
        refused = api.http.get("/events", params={"follow": "true"})
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_readers")
        assert api.http.put("/pgs", json={"name": "a", "storage_name": "shop"}).status_code == 201
        assert events(api)[-1].kind is EventKind.PG_CREATED
    until("their end", lambda: log.followers == 0, Deadline.after(60))


def test_a_reader_that_does_not_read_blocks_nobody(api: Api) -> None:
    log = api.fixture.site.events
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        token = api.http.headers["authorization"]
        deaf.sendall(
            f"GET /events?follow=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode()
        )
        until("it", lambda: log.followers == 1, Deadline.after(30))
        for number in range(20_000):
            log.tell(EventKind.STEP_FAILED, f"n{number}", "x" * 500)
        assert api.http.get("/healthz").json() == {"ok": True}
        found = events(api)
        assert found[-1].name == "n19999"
        assert len(found) <= 2000
    until("its end", lambda: log.followers == 0, Deadline.after(30))


def test_server_sent_events_go_on_from_the_last_id(api: Api) -> None:
    known = events(api)
    headers = {"Accept": SSE, "Last-Event-ID": str(known[-2].id)}
    answer = api.http.get("/events", headers=headers)
    assert answer.headers["content-type"].startswith(SSE)
    first, second, third = answer.text.strip().split("\n")
    assert (first, second) == (f"id: {known[-1].id}", "event: storage_attached")
    assert EventOut.model_validate_json(third.removeprefix("data: ")) == known[-1]


def test_a_quiet_stream_gives_signs_of_life(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neon_compose.api.events._QUIET_S", 0.01)
    with api.http.stream("GET", "/events", params={"follow": "true"}) as answer:
        lines = answer.iter_lines()
        assert [next(lines), next(lines)] == ["", ""]


def test_followers_end_before_the_controller_waits_for_open_requests() -> None:
    with made() as fixture:
        app = create_app(fixture.site, owns_stack=False)
        config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=300)
        server = Server(config, fixture.site.events)
        with in_thread(server) as url:
            token = {"Authorization": f"Bearer {fixture.site.secrets.token}"}
            with (
                httpx.Client(base_url=url, headers=token, timeout=60, trust_env=False, verify=False) as http,
                http.stream("GET", "/events", params={"follow": "true"}) as answer,
            ):
                until("it", lambda: fixture.site.events.followers == 1, Deadline.after(30))
                server.should_exit = True
                assert list(answer.iter_lines()) == []  # a clean end, else httpx raises
