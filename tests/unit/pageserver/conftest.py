"""One HTTP server for all tests of the package; each sets the application it serves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import Switch, served


@pytest.fixture(scope="package")
def server() -> Iterator[tuple[Switch, str]]:
    """(what is served, its base URL)"""
    switch = Switch()
    with served(switch) as address:
        yield switch, address
