from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from neon_compose.errors import Invalid, Unavailable
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer

EVENTS = [
    {"id": 1, "at": "2026-11-28T05:00:00.123456Z", "kind": "pg_started", "name": "main"},
    {},  # a sign of life
    {
        "id": 2,
        "at": "2026-11-28T05:00:01Z",
        "kind": "container_ended",
        "name": "neon_pg_main",
        "exit_code": 137,
    },
    {"id": 3, "at": "2026-11-28T05:00:02Z", "kind": "step_failed", "name": "x", "note": "no\x1b[31m luck"},
]


@pytest.fixture(autouse=True)
def told(server: FakeServer) -> Iterator[None]:
    server.stream = EVENTS
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_each_event_is_a_line_with_all_that_is_known_of_it(cli: Cli) -> None:
    lines = cli("events").out.splitlines()
    assert [line.split() for line in lines] == [
        ["2026-11-28", "05:00:00.123", "pg_started", "main"],
        ["2026-11-28", "05:00:01.000", "container_ended", "neon_pg_main", "exit", "code", "137"],
        ["2026-11-28", "05:00:02.000", "step_failed", "x", "no?[31m", "luck"],
    ]


def test_as_json_they_are_the_servers_lines(cli: Cli) -> None:
    lines = cli("events", "-o", "json").out.splitlines()
    assert [json.loads(line) for line in lines] == [one for one in EVENTS if one]


def test_follow_and_since_are_the_servers(cli: Cli, server: FakeServer) -> None:
    ran = cli("events", "-f", "--since", "10m")
    assert ("GET", "/events", {"follow": "true", "since": "10m"}, None) in server.calls
    assert "ends" in ran.err
    assert ran.code == 0


@pytest.mark.parametrize(("error", "code"), [(Invalid("no moment"), 2), (Unavailable("too many"), 5)])
def test_a_refusal_is_the_servers(cli: Cli, server: FakeServer, error: Invalid, code: int) -> None:
    server.refuse["GET", "/events"] = error
    assert cli("events").code == code
