"""Our servers let idle connections live longer than clients do: who closes first must be the client."""

from __future__ import annotations

import httpx

from neon_compose.wire import keepalive


def test_servers_are_not_the_first_to_close_an_idle_connection() -> None:
    client_s = httpx.Limits().keepalive_expiry
    assert client_s is not None
    assert 10 * client_s < keepalive.SERVER_S
