"""Tests marked `docker` need an engine: skipped without one, failed without one under REQUIRE_DOCKER=1."""

from __future__ import annotations

import os
import signal
from functools import cache

import pytest
from hypothesis import settings

from neon_compose.engine.bootstrap import engine_answers

# A machine that does other things too is slow now and then.
settings.register_profile("neon", deadline=None)
settings.load_profile("neon")


@cache
def _engine() -> bool:
    return engine_answers()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") and not _engine():
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail("REQUIRE_DOCKER=1, and no Docker engine answers", pytrace=False)
        pytest.skip("no Docker engine answers")


def pytest_configure() -> None:
    """A shell that starts us in the background has us ignore SIGINT, and all we start inherits it: programs
    under test would not end on Ctrl-C. A handler of ours isn't inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
