"""How much of the past stays open, as people write it: `7d` and `10GiB`; `0` is none. Pure.

A moment stays open while it is in both; what snapshots and branches need stays beyond that.
"""

from __future__ import annotations

import re
from datetime import timedelta

from neon_compose.errors import Invalid

AGE = "0|[1-9][0-9]{0,8}(s|m|h|d)"
SIZE = "0|[1-9][0-9]{0,8}(KiB|MiB|GiB|TiB)"
DEFAULT_AGE = "7d"
DEFAULT_SIZE = "10GiB"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_LONGEST = timedelta(days=36500)  # calendars end


def parse_age(text: str) -> timedelta:
    """Raises `Invalid` code "bad_history"."""
    if re.fullmatch(AGE, text) is not None:
        age = timedelta(seconds=int(text[:-1] or 0) * _SECONDS.get(text[-1], 0))
        if age <= _LONGEST:
            return age
    raise Invalid(
        f"{text[:60]!a} is not how long history stays",
        hint="Say it as 30m, 2h or 7d, up to 36500d; 0 is none.",
        code="bad_history",
    )


def parse_size(text: str) -> int:
    """In bytes. Raises `Invalid` code "bad_history"."""
    if re.fullmatch(SIZE, text) is not None:
        return int(text[:-3] or 0) * _BYTES.get(text[-3:], 0)
    raise Invalid(
        f"{text[:60]!a} is not how much WAL history has",
        hint="Say it as 512MiB or 10GiB; 0 is none.",
        code="bad_history",
    )
