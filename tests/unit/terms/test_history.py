from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Bug
from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History, Log, Position
from tests.unit.terms.samples import MOST_LSN, bytes_of, family, histories, history

ends = st.integers(0, MOST_LSN).map(Lsn)


@given(family(), st.data(), ends)
def test_what_two_logs_share_is_their_longest_common_beginning(
    found: tuple[History, ...], data: st.DataObject, end: Lsn
) -> None:
    mine, theirs = data.draw(st.sampled_from(found)), data.draw(st.sampled_from(found))
    if not mine.starts or not theirs.starts:
        return
    shared = Log(mine, end).shared_with(theirs).value
    here, there = bytes_of(mine, end), bytes_of(theirs, end)
    same = next((at for at in range(end.value) if here[at] != there[at]), end.value)
    assert shared <= same
    assert shared == same or {here[shared], there[shared]} & {0}  # before any term there are no bytes


@given(family(), st.data(), ends)
def test_all_of_a_log_is_shared_with_a_history_that_goes_on_from_it(
    found: tuple[History, ...], data: st.DataObject, end: Lsn
) -> None:
    mine = data.draw(st.sampled_from(found))
    later = mine.then(99, end)
    assert Log(mine.up_to(end), end).shared_with(later) == end
    assert later.last.start == end


@given(histories(), ends)
def test_a_log_shares_all_of_itself_with_its_own_history(mine: History, end: Lsn) -> None:
    assert Log(mine, end).shared_with(mine) == end


@given(histories(), ends)
def test_a_term_that_starts_after_the_end_is_not_reached(mine: History, end: Lsn) -> None:
    reached = mine.up_to(end)
    assert all(one.start <= end for one in reached.starts)
    assert Log(mine, end).position == Log(reached, end).position


def test_holding_a_term_up_to_its_start_is_worth_more_than_any_older_wal() -> None:
    adopted = Log(history((1, 0), (3, 5)), Lsn(5)).position
    assert adopted == Position(3, Lsn(5))
    assert adopted > Log(history((1, 0), (2, 4)), Lsn(900)).position


def test_logs_part_where_the_first_of_their_next_terms_begins() -> None:
    mine = Log(history((1, 0), (2, 5)), Lsn(8))
    assert mine.shared_with(history((1, 0), (3, 6))) == Lsn(5)
    assert mine.shared_with(history((1, 0), (2, 5), (3, 6))) == Lsn(6)
    assert mine.shared_with(history((1, 0), (2, 5), (3, 9))) == Lsn(8)


@pytest.mark.parametrize("starts", [((2, 0), (1, 0)), ((1, 0), (1, 4)), ((1, 4), (2, 3))])
def test_terms_out_of_order_are_a_bug(starts: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(Bug, match="terms out of order"):
        history(*starts)
