from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.model.moments import PATTERN, Ago, Time, parse_moment, parse_since, settled

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


# ---- moments of a branch


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("5m", Ago("5m", timedelta(minutes=5))),
        ("0s", Ago("0s", timedelta())),
        ("0/1a2b3c4d", Lsn(0x1A2B3C4D)),
        ("2026-11-28T11:59:00Z", Time(datetime(2026, 11, 28, 11, 59, tzinfo=UTC))),
        ("2026-11-28 13:59+02:00", Time(datetime(2026, 11, 28, 11, 59, tzinfo=UTC))),
        ("2026-11-28t11:59:00.25z", Time(datetime(2026, 11, 28, 11, 59, 0, 250000, tzinfo=UTC))),
        ("import-2", "import-2"),
    ],
)
def test_these_are_moments(text: str, moment: object) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize(
    "text",
    ["", "5x", "5 m", "m", "-5m", "5.5m", "1234567890s", "0/", "/1", "0/x", "0/1/2", "123456789/0", "Import",
     "2026-11-28", "2026-11-28T10:00:00", "2026-13-28T10:00:00Z", "2026-11-28T25:00:00Z", "20261128T100000Z",
     "2026-11-28T10:00:00+0200", "0001-01-01T00:00:00+14:00", "²m", "a b", "a\n", "now", "yesterday",
     "9" * 1000],
)  # fmt: skip
def test_what_is_none_is_refused_with_examples(text: str) -> None:
    if text in ("m", "now", "yesterday"):  # they are names, and some snapshot may have them
        assert parse_moment(text) == text
        return
    with pytest.raises(Invalid) as caught:
        parse_moment(text)
    assert caught.value.code == "bad_moment"
    assert "5m" in caught.value.hint
    assert len(caught.value.message) < 200


@given(st.from_regex(PATTERN, fullmatch=True))
def test_a_moments_text_means_the_same_again(text: str) -> None:
    with contextlib.suppress(Invalid):  # the 31st of February
        moment = parse_moment(text)
        assert parse_moment(str(moment)) == moment


@given(st.text(max_size=30))
def test_what_the_api_says_a_moment_is_holds_for_all_that_are(text: str) -> None:
    with contextlib.suppress(Invalid):
        parse_moment(text)
        assert re.fullmatch(PATTERN, text)


def test_how_long_ago_is_settled_to_a_time_and_all_else_stays() -> None:
    assert settled(parse_moment("5m"), NOW) == Time(NOW - timedelta(minutes=5))
    for text in ("0/1", "init", "2026-11-28T12:00:00Z"):
        assert settled(parse_moment(text), NOW) == parse_moment(text)


def test_the_future_is_no_moment() -> None:
    with pytest.raises(Invalid) as caught:
        settled(parse_moment("2026-11-28T12:00:01Z"), NOW)
    assert caught.value.code == "future_moment"
    assert "2026-11-28T12:00:00Z" in caught.value.detail


def test_before_all_time_is_no_moment() -> None:
    with pytest.raises(Invalid) as caught:
        settled(parse_moment("999999999d"), NOW)
    assert caught.value.code == "bad_moment"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("2026-11-28", "A time needs its zone."),
        ("2026-11-28T10:15:00", "A time needs its zone."),
        ("2026-13-28T10:15:00Z", "There is no such time."),
        ("2026-11-31T10:15:00+01:00", "There is no such time."),
        ("2026-11-28T10Z", ""),
        ("2026-11-28T10:15:00+0100", ""),
        ("yesterday!", ""),
    ],
)
def test_what_is_wrong_with_a_time_is_said(text: str, detail: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_moment(text)
    assert caught.value.detail == detail
