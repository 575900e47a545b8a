"""How much history a storage keeps, in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from neon_compose.errors import Invalid
from neon_compose.model.history import DEFAULT_AGE, DEFAULT_SIZE, parse_age, parse_size
from neon_compose.pageserver.collecting import Window


@pytest.mark.parametrize(
    ("text", "age"),
    [("0", 0), ("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800), ("36500d", 36500 * 86400)],
)
def test_an_age_is_a_number_and_a_unit(text: str, age: int) -> None:
    assert parse_age(text) == timedelta(seconds=age)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1KiB", 1024), ("512MiB", 512 << 20), ("10GiB", 10 << 30), ("2TiB", 2 << 40)],
)
def test_a_size_is_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "00", "07d", "7 d", "36501d", "999999999d", "1.5h"])
def test_what_is_no_age_says_how_to_say_it(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_age(text)
    assert (caught.value.code, "7d" in caught.value.hint) == ("bad_history", True)


@pytest.mark.parametrize("text", ["", "10", "GiB", "10GB", "-1GiB", "1.5GiB", "010GiB", "9999999999TiB"])
def test_what_is_no_size_says_how_to_say_it(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_size(text)
    assert (caught.value.code, "10GiB" in caught.value.hint) == ("bad_history", True)


def test_the_default_is_the_pageservers() -> None:
    assert Window(parse_age(DEFAULT_AGE), parse_size(DEFAULT_SIZE)) == Window()
