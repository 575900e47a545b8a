from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Bug, Conflict, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms import register as terms
from neon_compose.terms.history import History, Log
from neon_compose.terms.members import Answer, Member, Report
from neon_compose.terms.register import Claim, Decided, Missing, Register
from tests.unit.terms.samples import MOST_LSN, family, history, member

A, B, C, D = (UUID(int=number) for number in range(1, 5))
SEATS = (A, B, C)
lsns = st.integers(0, MOST_LSN).map(Lsn)


def founded(seats: int = 3) -> tuple[Register, list[Member]]:
    """A new branch with all its first members, before any term."""
    register, found = terms.new_register(seats), []
    for seat in range(seats):
        register, one = terms.enrol(register, seat, UUID(int=seat + 1), Lsn(0))
        found.append(one)
    return register, found


def answer(identity: UUID, end: int, *starts: tuple[int, int], term: int = 9, oldest: int = 0) -> Answer:
    return Answer(identity, term, Log(history(*starts), Lsn(end)), Lsn(oldest), counts=True)


@pytest.mark.parametrize(("seats", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_two_majorities_always_share_a_seat(seats: int, needed: int) -> None:
    assert terms.majority((None,) * seats) == needed
    assert 2 * needed > seats


def test_a_branch_without_a_safekeeper_is_a_bug() -> None:
    with pytest.raises(Bug):
        terms.new_register(0)


def test_a_first_term_begins_where_the_branch_does() -> None:
    register, found = founded()
    register = terms.claim(register)
    answers = [members.answer(members.promise(one, 1), Lsn(0)) for one in found]
    chosen = terms.choose(register.claimed, answers[:2])
    assert chosen == history((1, 0))
    assert terms.decide(register, chosen).decided == Decided(chosen, SEATS)


def test_each_claim_is_of_a_term_of_its_own() -> None:
    register, _ = founded()
    claimed = [register := terms.claim(register) for _ in range(3)]
    assert [one.claimed.term for one in claimed] == [1, 2, 3]


@given(family(), st.data())
def test_the_choice_goes_on_from_the_wal_of_the_newest_term_then_the_longest(
    found: tuple[History, ...], data: st.DataObject
) -> None:
    answers = []
    for identity in SEATS:
        one = data.draw(st.sampled_from(found[1:]))
        end = data.draw(st.integers(one.last.start.value, MOST_LSN))
        answers.append(Answer(identity, 9, Log(one, Lsn(end)), Lsn(0), counts=True))
    asked = data.draw(st.permutations(answers))[: data.draw(st.integers(2, 3))]
    chosen = terms.choose(Claim(9, SEATS), asked)
    best = max((one.log for one in asked), key=lambda log: log.position)
    assert chosen == best.history.then(9, best.end)
    for one in asked:  # whoever has WAL of that term has a beginning of the choice
        if one.log.position.term == best.position.term:
            assert one.log.shared_with(chosen) == one.log.end


def test_a_long_tail_of_an_old_term_loses() -> None:
    old, new = answer(A, 900, (1, 0)), answer(B, 5, (1, 0), (2, 5))
    assert terms.choose(Claim(9, SEATS), [old, new]) == history((1, 0), (2, 5), (9, 5))


@pytest.mark.parametrize(
    "useless",
    [
        answer(A, 7, (1, 0)),  # the one that answered already
        answer(D, 7, (1, 0)),  # no seat
        answer(B, 7, (1, 0), term=8),  # promised another term
        replace(answer(B, 7, (1, 0)), counts=False),
    ],
)
def test_an_answer_that_does_not_count_is_no_part_of_a_majority(useless: Answer) -> None:
    with pytest.raises(Unavailable, match="1 of 3 safekeepers promised term 9") as caught:
        terms.choose(Claim(9, SEATS), [answer(A, 5, (1, 0)), useless])
    assert caught.value.code == "no_majority"


def test_a_later_claim_supersedes_an_undecided_one() -> None:
    register, _ = founded()
    first = terms.claim(register)
    later = terms.claim(first)
    with pytest.raises(Conflict) as caught:
        terms.decide(later, history((1, 0)))
    assert caught.value.code == "superseded"
    assert terms.decide(later, history((2, 0))).decided.history == history((2, 0))


def test_a_term_that_has_wal_already_is_not_chosen_for_again() -> None:
    with pytest.raises(Conflict) as caught:
        terms.choose(Claim(9, SEATS), [answer(A, 5, (1, 0), (9, 5)), answer(B, 4, (1, 0))])
    assert caught.value.code == "superseded"


def test_a_decision_repeated_is_success_and_another_one_a_conflict() -> None:
    register, _ = founded()
    decided = terms.decide(terms.claim(register), history((1, 0)))
    assert terms.decide(decided, history((1, 0))) == decided
    assert terms.decide(terms.claim(decided), history((1, 0))) == terms.claim(decided)
    with pytest.raises(Conflict):
        terms.decide(decided, history((1, 4)))


def test_a_decision_takes_the_place_of_one_that_few_adopted() -> None:
    register, _ = founded()
    decided = terms.decide(terms.claim(register), history((1, 0)))
    assert terms.decide(terms.claim(decided), history((2, 0))).decided.history == history((2, 0))


def test_what_is_missing_is_copied_from_where_the_histories_part() -> None:
    answers = [answer(A, 8, (1, 0), (2, 4)), answer(B, 7, (1, 0)), answer(C, 3, (1, 0))]
    chosen = terms.choose(Claim(9, SEATS), answers)
    assert terms.missing(chosen, answers) == (
        Missing(B, Lsn(4), Lsn(8), A),
        Missing(C, Lsn(3), Lsn(8), A),
    )


def test_what_no_member_keeps_any_more_comes_from_the_archive() -> None:
    answers = [answer(A, 8, (1, 0), oldest=5), answer(B, 2, (1, 0)), answer(C, 8, (1, 0), oldest=6)]
    chosen = terms.choose(Claim(9, SEATS), answers)
    assert terms.missing(chosen, answers) == (
        Missing(B, Lsn(2), Lsn(5), None),
        Missing(B, Lsn(5), Lsn(8), A),
    )


def test_a_replacement_counts_only_in_terms_claimed_after_it_came() -> None:
    register, found = founded()
    register = terms.claim(terms.claim(register))
    register, fresh = terms.enrol(register, 2, D, Lsn(3))
    assert register.seats == (A, B, D)
    assert register.claimed.seats == SEATS
    assert (fresh.promised, fresh.oldest, fresh.flushed) == (2, Lsn(3), Lsn(3))
    assert not fresh.counts
    taught = replace(fresh, history=history((1, 0), (2, 0)), flushed=Lsn(9))
    assert not taught.counts
    assert replace(taught, history=history((1, 0), (2, 0), (3, 7))).counts
    assert all(one.counts for one in found)


def test_an_identity_that_has_a_seat_is_given_no_other() -> None:
    register, _ = founded()
    with pytest.raises(Bug, match="has a seat"):
        terms.enrol(register, 1, A, Lsn(0))


def test_the_first_member_of_a_seat_that_stayed_empty_counts() -> None:
    register = terms.claim(terms.enrol(terms.new_register(2), 0, A, Lsn(0))[0])
    assert terms.enrol(register, 1, B, Lsn(0))[1].counts


reports = st.lists(
    st.builds(Report, st.sampled_from((A, B, C, D)), st.integers(1, 3), lsns),
    max_size=8,
)


@given(reports, lsns, st.none() | lsns)
def test_the_commit_lsn_is_what_a_majority_has_flushed_in_the_term(
    told: list[Report], start: Lsn, known: Lsn | None
) -> None:
    decided = Decided(history((2, start.value)), SEATS)
    commit = terms.commit_lsn(decided, told, known)
    if commit is None or commit == known:
        commit = known if known is not None else Lsn(-1)
    else:
        assert known is None or commit > known
        assert commit >= start
    holders = {
        at: {one.identity for one in told if one.term == 2 and one.identity in SEATS and one.flushed >= at}
        for at in {one.flushed for one in told}
    }
    reached = [at for at, who in holders.items() if len(who) >= 2 and at >= start]
    assert commit == max([*reached, known if known is not None else Lsn(-1)])


@given(reports)
def test_reports_may_come_in_any_order_and_twice(told: list[Report]) -> None:
    decided = Decided(history((2, 3)), SEATS)
    known = None
    for one in [*told, *reversed(told)]:
        after = terms.commit_lsn(decided, [one, *told[:3]], known)
        assert known is None or (after is not None and after >= known)
        known = after
    assert terms.commit_lsn(decided, told + told) == terms.commit_lsn(decided, list(reversed(told)))


def test_one_safekeeper_is_its_own_majority() -> None:
    decided = Decided(history((1, 0)), (A,))
    assert terms.commit_lsn(decided, [Report(A, 1, Lsn(5))]) == Lsn(5)
    one = members.receive(member(0, (1, 0)), 1, Lsn(0), Lsn(5))
    assert members.report(one) == Report(A, 1, Lsn(5))


def test_who_comes_into_empty_seats_knows_all_that_was_decided() -> None:
    register, _ = founded()
    for _ in range(3):
        register = terms.claim(register)
    register = terms.decide(register, history((1, 0), (3, 4)))
    register = terms.reseated(register, 5, Lsn(8))
    given_to = []
    for seat in range(3):
        register, one = terms.enrol(register, seat, UUID(int=50 + seat), Lsn(8), register.decided.history)
        given_to.append(one)
    register = terms.claim(register)
    answers = [members.answer(members.promise(one, 5), Lsn(8)) for one in given_to]
    assert terms.choose(register.claimed, answers) == history((1, 0), (3, 4), (4, 8), (5, 8))
    with pytest.raises(Unavailable):
        terms.choose(register.claimed, answers[:2])
