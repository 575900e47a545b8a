"""Whose WAL a receiver receives, as whom, and from where. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

_SHORT_ID = re.compile(r"[0-9a-f]{12}")
_MAX_NAME_BYTES = 63  # NAMEDATALEN - 1; Postgres truncates longer application names silently


@dataclass(frozen=True)
class Subject:
    """Whose WAL is received by whom: a branch in a term, and the member; short ids are in the manifest."""

    branch: UUID
    short_branch: str
    term: int
    member: str

    def __post_init__(self) -> None:
        assert _SHORT_ID.fullmatch(self.short_branch), self.short_branch
        assert _SHORT_ID.fullmatch(self.member), self.member
        assert self.term >= 0
        assert len(self.name) <= _MAX_NAME_BYTES, self.name

    @property
    def name(self) -> str:
        """Of the slot and of the standby, as synchronous_standby_names lists it."""
        return f"b{self.short_branch}_t{self.term}_{self.member}"


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
            "connect_timeout": 5,
            "keepalives_idle": 4,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        }
