"""Names of slots and standbys (tests/wal has receivers that run)."""

from __future__ import annotations

from uuid import UUID

import pytest

from neon_compose.safekeeper.subject import Subject

BRANCH = UUID("01900000-0000-7000-8000-00000000000b")


@pytest.mark.parametrize("term", [0, 1, 2**63 - 1])
def test_a_slot_s_name_is_never_one_that_postgres_would_cut(term: int) -> None:
    name = Subject(BRANCH, "0190000000b0", term, "00000000aaaa").name
    assert name == f"b0190000000b0_t{term}_00000000aaaa"
    assert len(name) <= 63


@pytest.mark.parametrize(
    ("branch", "term", "member"),
    [
        ("0190000000B0", 1, "00000000aaaa"),
        ("0190000000b", 1, "00000000aaaa"),
        ("0190000000b0", 1, "00000000aaaa_"),
        ("0190000000b0", -1, "00000000aaaa"),
        ("0190000000b0", 10**40, "00000000aaaa"),
    ],
)
def test_ids_that_make_no_name_are_refused(branch: str, term: int, member: str) -> None:
    with pytest.raises(AssertionError):
        Subject(BRANCH, branch, term, member)
