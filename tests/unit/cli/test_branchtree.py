"""The list of branches as a tree."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from neon_compose.cli import branchtree, render

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def branch(name: str, parent: str | None = None, storage: str = "main", **more: object) -> dict[str, object]:
    return {"storage_name": storage, "name": name, "parent": parent, **more}


def test_children_stand_below_their_parents_whatever_the_order() -> None:
    branches = [
        branch("b", "a"), branch("main"), branch("a", "main"), branch("z", "main"), branch("c", "b"),
        branch("main", storage="crm"), branch("a", "main", storage="crm"), branch("lost", "0192-an-id"),
    ]  # fmt: skip
    found, columns = branchtree.rows(branches, NOW)
    lines = render.as_table(found, columns).splitlines()
    assert lines[5].startswith("main       a ")
    assert lines[6].startswith("main         b ")
    assert [(row["storage_name"], "  " * row["depth"] + row["name"]) for row in found] == [
        ("crm", "main"), ("crm", "  a"),
        ("main", "lost"), ("main", "main"), ("main", "  a"), ("main", "    b"), ("main", "      c"),
        ("main", "  z"),
    ]  # fmt: skip


def test_a_row_says_where_it_starts_and_what_it_takes() -> None:
    row = branch(
        "a", "main", start_lsn="0/1A2B", own_bytes=3 << 20, wal_bytes=1536, created_at="2026-11-28T09:00:00Z"
    )
    rows = [row, row | {"name": "b", "snapshot": "init"}]
    lines = render.as_table(*branchtree.rows(rows, NOW)).splitlines()
    assert lines[1].split() == [
        "main",
        "a",
        "main",
        "0/1A2B",
        "-",
        "-",
        "3.0",
        "MiB",
        "1.5",
        "KiB",
        "3",
        "h",
        "-",
    ]
    assert lines[2].split()[3] == "init"


def test_a_branch_that_is_its_own_parent_ends_no_loop() -> None:
    found, _ = branchtree.rows([branch("a", "a"), branch("main")], NOW)
    assert [row["name"] for row in found] == ["main"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "119 min"), (7200, "2 h"),
     (172799, "47 h"), (172800, "2 d"), (86400 * 400, "400 d")],
)  # fmt: skip
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert render.age(seconds) == text


def test_a_row_says_how_long_it_is_there() -> None:
    rows = [
        branch("a", protected=True, expires="2026-11-28T14:30:00Z"),
        branch("b", expires="2026-11-28T14:30:00Z"),
        branch("c", expires="2026-11-28T11:59:00Z"),
        branch("d"),
    ]
    lines = render.as_table(*branchtree.rows(rows, NOW)).splitlines()
    ends = ["KEPT", "  protected", "  for 2 h", "  its time is over", "  -"]
    assert [line.endswith(end) for line, end in zip(lines, ends, strict=True)] == [True] * 5
