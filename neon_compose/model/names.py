"""Names of storages, branches, snapshots and pgs.

A name is `[a-z]([a-z0-9-]{0,38}[a-z0-9])?`. Containers, volumes and networks join names with `_`,
which no name contains, so two resources can't collide.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NewType

from neon_compose.errors import Invalid

Name = NewType("Name", str)

PATTERN = r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
_NAME = re.compile(PATTERN)
_SHOWN = 60

LONGEST = 40


def parse_name(text: str, what: str = "name") -> Name:
    """`text` as a name. Raises `Invalid` naming `what` (say, "pg") and the rule."""
    if _NAME.fullmatch(text):
        return Name(text)
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    raise Invalid(
        f"{what} name {shown!a} is not valid" if text else f"{what} name is empty",
        detail="A name has 1 to 40 characters: lower-case letters, digits and hyphens; "
        "it starts with a letter and does not end with a hyphen.",
        hint='For example "shop" or "try-1".',
        code="bad_name",
    )


def kept_name(name: str, now: datetime) -> str:
    """For a branch that had the name `name` until `now`, in UTC: `<name>-before-YYYYMMDD-HHMMSS`, with as
    much of `name` as fits."""
    end = f"-before-{now:%Y%m%d-%H%M%S}"
    return name[: LONGEST - len(end)].rstrip("-") + end
