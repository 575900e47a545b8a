from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.safekeeper.world import World


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """Safekeepers that reach each other, by host."""
    hosts: dict[str, World] = {}

    def make(host: str) -> World:
        hosts[host] = World(tmp_path / host, hosts)
        return hosts[host]

    yield make
    for world in hosts.values():
        world.service.close()


@pytest.fixture
def world(made: Callable[[str], World]) -> World:
    return made("safekeeper-1")
