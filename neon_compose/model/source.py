"""Where a branch starts: `[STORAGE/]NAME[@MOMENT]`, split at the first `@`, then at `/`.

`STORAGE/NAME` is a branch. A bare NAME is a pg (its branch), else a storage (its `main`), else a branch
name unique in the stack; the controller resolves it, since only it knows all three.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from neon_compose.errors import Invalid
from neon_compose.model.moments import Moment, parse_moment, settled
from neon_compose.model.names import Name, parse_name


@dataclass(frozen=True)
class Source:
    """A parsed source: `storage` is None for a bare name, `moment` None for the latest."""

    storage: Name | None
    name: Name
    moment: Moment | None

    def __str__(self) -> str:
        head = f"{self.storage}/{self.name}" if self.storage else self.name
        return f"{head}@{self.moment}" if self.moment is not None else head

    def settled(self, now: datetime) -> Source:
        """The same at a moment that stays: see moments. Raises `Invalid` for one in the future."""
        return self if self.moment is None else replace(self, moment=settled(self.moment, now))


def parse_source(text: str) -> Source:
    """`text` as a source; raises `Invalid`."""
    head, at, moment = text.partition("@")
    storage, slash, name = head.rpartition("/")
    if (at and not moment) or (slash and not storage):
        raise Invalid(
            f"source {text[:80]!a} is not valid",
            hint="A source is [STORAGE/]NAME[@MOMENT], for example shop@import or shop@5m.",
            code="bad_source",
        )
    return Source(
        parse_name(storage, "storage") if slash else None,
        parse_name(name, "source"),
        parse_moment(moment) if at else None,
    )
