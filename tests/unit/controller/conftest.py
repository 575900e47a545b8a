from __future__ import annotations

from collections.abc import Iterator

import pytest

from neon_compose.controller import pods, storages
from neon_compose.model.states import StorageType
from neon_compose.wire.rest import StorageIn
from tests.site import Fixture, made


@pytest.fixture
def bare() -> Iterator[Fixture]:
    """A stack with a network and nothing in it."""
    with made() as fixture:
        yield fixture


@pytest.fixture
def shop(bare: Fixture) -> Fixture:
    """A stack with storage "shop" and a pod with 16 free ports."""
    storages.attach(bare.site, StorageIn(name="shop", type=StorageType.NATIVE))
    pods.top_up(bare.site)
    bare.faults.seen.clear()
    return bare
