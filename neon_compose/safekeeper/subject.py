"""Whose WAL a receiver receives, as whom, and from where. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from neon_compose.terms.names import standby_name


@dataclass(frozen=True)
class Subject:
    """Whose WAL is received by whom: a branch in a term, and the member that receives."""

    branch: UUID
    term: int
    member: UUID

    @property
    def name(self) -> str:
        """Of the slot and of the standby, as synchronous_standby_names lists it."""
        return standby_name(self.branch, self.term, self.member)


@dataclass(frozen=True)
class Primary:
    """Where the primary is; `passfile` is in libpq's format, for no secret is ever an argument."""

    host: str
    port: int
    user: str
    passfile: Path | None = None

    def parameters(self, name: str) -> dict[str, Any]:
        """libpq's. A primary that vanishes without a word is given up after some 10 s."""
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            **({"passfile": str(self.passfile)} if self.passfile else {}),
            "application_name": name,
            # Neither is used within the stack, and each would be asked for first, in a message of its own.
            "sslmode": "disable",
            "gssencmode": "disable",
            "connect_timeout": 5,
            "keepalives_idle": 4,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
