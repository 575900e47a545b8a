"""How long a branch is to be there, as people write it: `90s`, `30m`, `2h`, `7d`. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from neon_compose.errors import Invalid

PATTERN = "[1-9][0-9]{0,8}(s|m|h|d)"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_ttl(text: str) -> timedelta:
    """More than nothing. Raises `Invalid` code "bad_ttl"."""
    if re.fullmatch(PATTERN, text) is None:
        raise _bad(text)
    return timedelta(seconds=int(text[:-1]) * _SECONDS[text[-1]])


def expiry(text: str, now: datetime) -> datetime:
    """When `text` from `now` is over. Raises as `parse_ttl`, also for what no calendar has."""
    try:
        return now + parse_ttl(text)
    except OverflowError as error:
        raise _bad(text) from error


def _bad(text: str) -> Invalid:
    return Invalid(
        f"{text[:60]!a} is not a time to live", hint="Say it as 90s, 30m, 2h or 7d.", code="bad_ttl"
    )
