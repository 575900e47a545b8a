"""Tests marked `docker` need an engine: skipped without one, failed without one under REQUIRE_DOCKER=1."""

from __future__ import annotations

import os
from functools import cache

import pytest

from neon_compose.engine.bootstrap import engine_answers


@cache
def _engine() -> bool:
    return engine_answers()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and not _engine():
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail("REQUIRE_DOCKER=1, and no Docker engine answers", pytrace=False)
        pytest.skip("no Docker engine answers")
