"""Names, sources and LSNs: what is one, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Invalid
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.model.names import PATTERN, parse_name
from neon_compose.model.nearest import did_you_mean, nearest
from neon_compose.model.source import parse_source


@pytest.mark.parametrize("name", ["a", "a1", "shop", "try-1", "a--b", "a" * 40])
def test_these_are_names(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "1a", "-a", "a-", "A", "aB", "a_b", "a.b", "a/b", "..", "a b", "a\n", "\na", "a\0", "é", "a" * 41,
     "$(id)", "a;b", "a'b", 'a"b', "a`b", "ａ", "a" * 100_000],
)  # fmt: skip
def test_these_are_not_and_the_error_is_short_and_printable(name: str) -> None:
    with pytest.raises(Invalid) as raised:
        parse_name(name, "pg")
    assert raised.value.code == "bad_name"
    assert raised.value.message.startswith("pg name")
    assert len(raised.value.message) < 200
    assert raised.value.message.isprintable()


@given(st.from_regex(PATTERN, fullmatch=True), st.from_regex(PATTERN, fullmatch=True))
def test_two_resources_never_share_a_containers_name(stack: str, name: str) -> None:
    assert f"{parse_name(stack)}_pg_{parse_name(name)}".split("_") == [stack, "pg", name]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("shop", (None, "shop", None)),
        ("shop@import", (None, "shop", "import")),
        ("shop/main", ("shop", "main", None)),
        ("shop/main@init", ("shop", "main", "init")),
        ("shop@5m", (None, "shop", "5m")),
        ("shop/main@0/1A2B", ("shop", "main", "0/1A2B")),
        ("shop@2026-11-23T04:00:00Z", (None, "shop", "2026-11-23T04:00:00Z")),
    ],
)
def test_a_source_is_split_at_the_at_and_then_at_the_slash(text: str, parts: tuple[str | None, ...]) -> None:
    source = parse_source(text)
    assert (source.storage, source.name, source.moment and str(source.moment)) == parts
    assert str(source) == text
    assert parse_source(str(source)) == source


@pytest.mark.parametrize(
    "text", ["", "@x", "a@", "/a", "a/", "a/b/c", "a@b@c", "a@b/x", "A", "a@B", "^parent", "-"]
)
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_source(text)


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_is_what_it_is_written_as(value: int) -> None:
    assert Lsn.parse(str(Lsn(value))) == Lsn(value)


def test_lsns_are_ordered_as_numbers_not_as_text() -> None:
    assert Lsn.parse("0/FFFFFFFF") < Lsn.parse("1/0") < Lsn.parse("A/0") < Lsn.parse("10/0")


@pytest.mark.parametrize(
    "text", ["", "0", "0/", "/0", "0/g", "0x1/2", "1/123456789", " 0/1", "0/1\n", "-1/0"]
)
def test_what_is_no_lsn_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Lsn.parse(text)


def test_ids_are_version_7_and_differ() -> None:
    made = [new_id() for _ in range(100)]
    assert {one.version for one in made} == {7}
    assert len(set(made)) == 100


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("storagse", "storages"),
        ("work_mme", "work_mem"),
        ("Storage-Name", "storage_name"),
        ("xyzzy", None),
        ("", None),
    ],
)
def test_the_nearest_word_is_found_if_any_is_near(word: str, found: str | None) -> None:
    assert nearest(word, ["storages", "storage_name", "work_mem"]) == found


def test_a_hint_names_the_nearest_or_all() -> None:
    assert did_you_mean("pgx", ["pgs", "storages"]) == 'Did you mean "pgs"?'
    assert did_you_mean("xyzzy", ["b", "a"]) == "Known: a, b."
    assert did_you_mean("x", []) == ""
