"""Fifty clients against a controller over fakes: no deadlock, no 500, and a world that fits together."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from neon_compose.api.app import create_app
from neon_compose.controller import pods
from neon_compose.engine import labels as label
from neon_compose.model.states import Component
from tests import scale
from tests.clients import STORAGE, Clients, clear, problems_at_rest
from tests.serving import served
from tests.site import Fixture, made


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    with made() as fixture:
        yield fixture


def computes_of(fixture: Fixture) -> dict[str, bool]:
    return {
        box.spec.labels[label.PG]: fixture.engine.running(name)
        for name, box in list(fixture.engine.boxes.items())
        if box.spec.component is Component.COMPUTE
    }


@pytest.mark.chaos
def test_fifty_clients_get_documented_answers_and_leave_a_world_that_fits(fixture: Fixture) -> None:
    requests = scale.amount(6, 1000)
    token = fixture.site.secrets.token
    with served(create_app(fixture.site, owns_stack=False)) as url:
        clients = Clients(url, token, scale.seed())
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, verify=False) as http:
            assert http.put("/storages", json={"name": STORAGE, "type": "native"}).status_code == 201
            pods.top_up(fixture.site)
            clients.run(lambda count: count < requests)
            assert clients.wrong == []
            assert clients.requests == 50 * requests
            assert fixture.site.locks.idle("nothing")
            assert problems_at_rest(http, computes_of(fixture)) == []
            clear(http)
            assert [one["name"] for one in http.get(f"/storages/{STORAGE}/branches").json()] == ["main"]
        assert fixture.pageservers.store(STORAGE).computes == {}
        assert fixture.site.reserved_ports == set()
