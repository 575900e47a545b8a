"""Clients of the safekeepers.

`Safekeeper` is the part of `wire.safekeeper_client` that the controller uses: it looks, and has them forget
what purged storages had. Terms, members and receivers are the pageservers'.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from neon_compose.controller.clients import Clients
from neon_compose.wire.safekeeper import SafekeeperStatus
from neon_compose.wire.safekeeper_client import SafekeeperClient, address


class Safekeeper(Protocol):
    """See `SafekeeperClient` for the contract of each call."""

    def healthy(self) -> bool: ...
    def status(self) -> SafekeeperStatus: ...
    def delete(self, branch: UUID) -> None: ...


Safekeepers = Clients[Safekeeper]


def over_http(internal_token: str) -> Safekeepers:
    """Real ones."""
    return Safekeepers(lambda host: SafekeeperClient(address(host), internal_token))
