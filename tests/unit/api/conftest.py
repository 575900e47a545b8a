from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from neon_compose.api.app import create_app
from neon_compose.controller import pods
from tests.serving import Switch, served
from tests.site import Fixture, made


@dataclass
class Api:
    """A served controller over fakes: storage "shop", a pod, no pg."""

    http: httpx.Client
    fixture: Fixture
    url: str

    def world(self) -> object:
        return self.fixture.world()


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Switch, str]]:
    switch = Switch()
    with served(switch) as url:
        yield switch, url


@pytest.fixture
def api(server: tuple[Switch, str]) -> Iterator[Api]:
    switch, url = server
    with made() as fixture:
        switch.app = create_app(fixture.site, frozenset({"db.example"}), owns_stack=False)
        token = {"Authorization": f"Bearer {fixture.site.secrets.token}"}
        # verify=False: loading certificates that nobody needs takes longer than most of these tests.
        with httpx.Client(base_url=url, headers=token, timeout=30, trust_env=False, verify=False) as http:
            assert http.put("/storages", json={"name": "shop", "type": "native"}).status_code == 201
            pods.top_up(fixture.site)
            yield Api(http, fixture, url)
