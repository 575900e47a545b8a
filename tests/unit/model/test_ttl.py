"""How long a branch is to be there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from neon_compose.errors import Invalid
from neon_compose.model.ttl import expiry, parse_ttl


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800)])
def test_a_time_to_live_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_ttl(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0s", "2", "h", "-2h", "2w", "2h ", "02h", "1.5h", "9999999999d"])
def test_nothing_else_is_one(text: str) -> None:
    with pytest.raises(Invalid, match="time to live"):
        parse_ttl(text)


def test_it_ends_before_the_calendar_does() -> None:
    assert expiry("2h", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 2, tzinfo=UTC)
    with pytest.raises(Invalid, match="time to live"):
        expiry("999999999d", datetime(2026, 1, 1, tzinfo=UTC))
