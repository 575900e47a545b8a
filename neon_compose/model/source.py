"""Where a branch starts: `[STORAGE/]NAME[@MOMENT]`, split at the first `@`, then at `/`.

`STORAGE/NAME` is a branch. A bare NAME is a pg (its branch), else a storage (its `main`), else a branch
name unique in the stack; the controller resolves it, since only it knows all three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from neon_compose.errors import Invalid
from neon_compose.model.names import Name, parse_name

_OTHER_MOMENT = re.compile(r"[0-9A-Fa-f]+/[0-9A-Fa-f]+|\d+[smhd]|\d{4}-\d\d-\d\d.*")


@dataclass(frozen=True)
class Source:
    """A parsed source: `storage` is None for a bare name, `moment` None for the latest."""

    storage: Name | None
    name: Name
    moment: Name | None

    def __str__(self) -> str:
        head = f"{self.storage}/{self.name}" if self.storage else self.name
        return f"{head}@{self.moment}" if self.moment else head


def parse_source(text: str) -> Source:
    """`text` as a source; raises `Invalid`. Moments other than snapshot names are refused by name."""
    head, at, moment = text.partition("@")
    storage, slash, name = head.rpartition("/")
    if (at and not moment) or (slash and not storage):
        raise Invalid(
            f"source {text[:80]!a} is not valid",
            hint="A source is [STORAGE/]NAME[@SNAPSHOT], for example shop@import.",
            code="bad_source",
        )
    return Source(
        parse_name(storage, "storage") if slash else None,
        parse_name(name, "source"),
        _parse_moment(moment) if at else None,
    )


def _parse_moment(text: str) -> Name:
    if _OTHER_MOMENT.fullmatch(text):
        raise Invalid(
            f"moment {text[:60]!a} can't be opened",
            detail="WAL is not kept apart from a compute yet, so the only moments are snapshots.",
            hint="neon-compose storage show STORAGE lists the snapshots.",
            code="moment_unavailable",
        )
    return parse_name(text, "snapshot")
