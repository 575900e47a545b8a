from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Conflict, Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms.history import History, Log
from neon_compose.terms.members import Copy, Cut, Member, Promise, Record, Report
from tests.unit.terms.samples import MOST_LSN, bytes_of, family, history, member


@st.composite
def adoptions(draw: st.DrawFn) -> tuple[Member, History]:
    """A member somewhere in a branch's life, and a history decided in a term it may adopt."""
    found = draw(family())
    mine, theirs = draw(st.sampled_from(found)), draw(st.sampled_from(found[1:]))
    end = draw(st.integers(mine.last.start.value, MOST_LSN)) if mine.starts else 0
    one = replace(member(end), history=mine, promised=draw(st.integers(mine.last.term, 7)))
    return one, theirs


@given(st.lists(st.integers(0, 9)))
def test_promises_only_go_up_and_repeating_one_is_success(asked: list[int]) -> None:
    one = member(0)
    for term in asked:
        before = one.promised
        if term < before:
            with pytest.raises(Conflict, match=f"term {term} is over") as caught:
                members.promise(one, term)
            assert caught.value.code == "stale_term"
        else:
            one = members.promise(one, term)
            assert one.promised == term
            assert members.promise(one, term) == one
        assert one.promised >= before


@given(adoptions(), st.data())
def test_adopting_ends_with_the_historys_wal_whatever_is_cut_off_between(
    adoption: tuple[Member, History], data: st.DataObject
) -> None:
    one, theirs = adoption
    start = theirs.last.start
    had = one.history == theirs
    wal = bytes_of(one.history, one.flushed)
    if theirs.last.term < one.promised:
        with pytest.raises(Conflict):
            members.next_step(one, theirs)
        return
    steps = []
    while step := members.next_step(one, theirs):
        if isinstance(step, Copy):
            step = Copy(step.start, Lsn(data.draw(st.integers(step.start.value + 1, step.end.value))))
            wal += bytes_of(theirs, step.end)[step.start.value :]
        if isinstance(step, Cut):
            wal = wal[: step.at.value]
        one = members.after(one, step)
        steps.append(type(step))
        # At every point where it may die, its WAL is what its history says.
        assert wal == bytes_of(one.history, one.flushed)
    assert one.history == theirs
    assert one.promised == theirs.last.term
    assert wal[: start.value] == bytes_of(theirs, start)
    assert members.may_receive(one, theirs.last.term)
    assert [kind for kind in (Promise, Cut, Record) if kind in steps] == [k for k in steps if k is not Copy]
    assert Cut not in steps or not had


def test_adopting_again_keeps_what_was_received_since() -> None:
    one = member(7, (1, 0), (2, 5))
    assert members.next_step(one, history((1, 0), (2, 5))) is None


def test_wal_is_cut_where_the_histories_part_though_the_term_starts_later() -> None:
    one = member(8, (1, 0), (2, 5), promised=4)
    assert members.next_step(one, history((1, 0), (3, 6), (4, 7))) == Cut(Lsn(5))


def test_a_half_record_after_the_start_is_cut_also_from_the_wal_that_was_chosen() -> None:
    one = member(8, (1, 0), promised=2)
    chosen = members.answer(one, records_end=Lsn(6)).log.history.then(2, Lsn(6))
    assert members.next_step(one, chosen) == Cut(Lsn(6))


def test_committed_wal_is_never_cut() -> None:
    one = members.hear_commit(member(8, (1, 0)), 1, Lsn(7))
    with pytest.raises(Corrupt, match="would cut committed WAL"):
        members.next_step(members.promise(one, 2), history((1, 0), (2, 6)))


@given(st.integers(0, 9))
def test_a_commit_lsn_is_noted_only_in_the_term_that_was_adopted_and_only_as_far_as_wal_is_here(
    commit: int,
) -> None:
    one = member(5, (1, 0), (2, 3))
    assert members.hear_commit(one, 2, Lsn(commit)).committed == Lsn(min(commit, 5))
    assert members.hear_commit(one, 1, Lsn(commit)) == one
    assert members.hear_commit(members.promise(one, 3), 2, Lsn(commit)).committed == Lsn(0)
    told = members.hear_commit(one, 2, Lsn(4))
    assert members.hear_commit(told, 2, Lsn(commit)).committed >= told.committed


@given(st.integers(0, 9))
def test_trimming_keeps_what_is_not_committed(needed: int) -> None:
    one = members.hear_commit(member(8, (1, 0)), 1, Lsn(6))
    assert members.trim(one, Lsn(needed)).oldest == Lsn(min(needed, 6))


def test_an_answer_does_not_take_damage_for_the_end_of_the_wal() -> None:
    one = members.hear_commit(member(8, (1, 0), (2, 4)), 2, Lsn(6))
    assert members.answer(one, Lsn(6)).log.end == Lsn(6)
    for damaged in (members.answer, lambda m, e: members.answer(replace(m, committed=Lsn(0)), e)):
        with pytest.raises(Corrupt) as caught:
            damaged(one, Lsn(3))
        assert caught.value.code == "wal_damaged"
    with pytest.raises(Corrupt):
        members.answer(one, Lsn(9))


@pytest.mark.parametrize(
    ("one", "term", "code"),
    [
        (member(5, (1, 0), promised=2), 1, "stale_term"),
        (member(5, (1, 0)), 2, "not_adopted"),
        (member(5, (1, 0), promised=2), 2, "not_adopted"),
        (member(5, (1, 0), (2, 6)), 2, "not_adopted"),
        (member(5, (1, 0), (2, 3)), 1, "stale_term"),
        (member(4, (1, 0), (2, 3)), 2, "wal_gap"),
    ],
)
def test_wal_is_received_in_the_adopted_term_only_and_without_a_gap(
    one: Member, term: int, code: str
) -> None:
    with pytest.raises(Conflict) as caught:
        members.receive(one, term, Lsn(5), Lsn(7))
    assert caught.value.code == code


@given(st.lists(st.tuples(st.integers(3, 9), st.integers(1, 4))))
def test_what_is_received_late_or_twice_takes_nothing_back(stretches: list[tuple[int, int]]) -> None:
    one = member(3, (1, 0), (2, 3))
    for start, length in stretches:
        before = one.flushed.value
        if start > before:
            continue
        one = members.receive(one, 2, Lsn(start), Lsn(start + length))
        assert one.flushed.value == max(before, start + length)
        assert members.report(one) == Report(one.identity, 2, one.flushed)


def test_nothing_is_reported_before_the_term_is_adopted() -> None:
    assert members.report(member(5, (1, 0), promised=2)) is None
    assert members.report(member(5, (1, 0), (2, 6))) is None
    assert members.report(member(6, (1, 0), (2, 6))) is not None


def test_a_peer_supplies_only_what_the_history_means() -> None:
    wanted = history((1, 0), (3, 6))
    assert members.supplies(member(8, (1, 0)), wanted) == Lsn(6)
    assert members.supplies(member(8, (1, 0), (2, 4)), wanted) == Lsn(4)
    assert members.supplies(member(8, (1, 0), (3, 6)), wanted) == Lsn(8)


def test_a_replacement_counts_from_wal_of_a_later_term_on() -> None:
    one = replace(member(5, (1, 0), (4, 5)), counts_from=4)
    assert one.counts
    assert not replace(one, flushed=Lsn(4)).counts
    assert not replace(one, counts_from=5).counts


@given(family(), st.integers(0, MOST_LSN), st.integers(0, MOST_LSN), st.data())
def test_what_is_installed_is_the_decided_wal_and_takes_back_none_of_it(
    found: tuple[History, ...], end: int, at: int, data: st.DataObject
) -> None:
    decided, mine = (data.draw(st.sampled_from(found[1:])) for _ in range(2))
    history = decided.up_to(Lsn(at))
    if not history.starts:
        return
    one = replace(member(end), history=mine.up_to(Lsn(end)), promised=9)
    wanted = replace(member(at), history=history, oldest=Lsn(at))
    made = members.installed(one, wanted)
    if made is None:
        assert bytes_of(one.history, Lsn(at)) == bytes_of(decided, Lsn(at))
        return
    assert (made.promised, made.log) == (9, Log(history, Lsn(at)))
    assert members.installed(made, wanted) is None
