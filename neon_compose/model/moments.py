"""Moments as people give them to `--since`: a time with its zone, or how long ago. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from neon_compose.errors import Invalid

_AGO = re.compile(r"([0-9]{1,9})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_since(text: str, now: datetime) -> datetime:
    """`2026-11-28T10:00:00Z` or `10m`, in UTC. Raises `Invalid`; a time without a zone is none."""
    try:
        if match := _AGO.fullmatch(text):
            return now - timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        f"{text[:60]!a} is not a moment",
        hint="Say how long ago (30s, 10m, 2h, 1d), or when (2026-11-28T10:00:00Z).",
        code="bad_moment",
    )
