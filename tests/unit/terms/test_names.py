"""Names of slots and standbys (tests/wal has receivers that run under them)."""

from __future__ import annotations

from uuid import UUID

import pytest

from neon_compose.model.ids import new_id
from neon_compose.terms.names import short, standby_name

BRANCH = UUID("01900000-0000-7000-8000-00000000000b")
MEMBER = UUID("01900000-0000-7000-8000-00000000aaaa")


@pytest.mark.parametrize("term", [0, 1, 2**63 - 1])
def test_a_slot_s_name_is_never_one_that_postgres_would_cut(term: int) -> None:
    name = standby_name(BRANCH, term, MEMBER)
    assert name == f"b00000000000b_t{term}_00000000aaaa"
    assert len(name) <= 63


@pytest.mark.parametrize("term", [-1, 10**40])
def test_terms_that_make_no_name_are_refused(term: int) -> None:
    with pytest.raises(AssertionError):
        standby_name(BRANCH, term, MEMBER)


def test_ids_made_in_one_moment_have_different_short_forms() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len({short(one) for one in ids}) == len(ids)
