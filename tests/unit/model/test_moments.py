from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Invalid
from neon_compose.model.moments import parse_since

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("2026-11-28T11:59:00Z", timedelta(minutes=1)),
        ("2026-11-28T13:59:00+02:00", timedelta(minutes=1)),
    ],
)
def test_a_moment_is_a_time_with_its_zone_or_how_long_ago(text: str, ago: timedelta) -> None:
    assert parse_since(text, NOW) == NOW - ago


@pytest.mark.parametrize(
    "text", ["", "yesterday", "10", "10 m", "-1h", "1w", "2026-11-28T11:59:00", "9" * 9 + "d"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_since(text, NOW)
    assert caught.value.code == "bad_moment"


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert parse_since(text, NOW).tzinfo is not None
