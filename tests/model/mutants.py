"""The rules broken one at a time, each in a scope in which the unbroken rules hold.

The numbers are those of the invariants in neon_compose/terms/register.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from neon_compose.errors import Conflict, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms import register as terms
from neon_compose.terms.history import History, Log
from neon_compose.terms.members import Answer, Copy, Cut, Member, Promise, Record, Report, Step
from neon_compose.terms.register import Claim, Decided, Register
from tests.model.rules import Rules, Scope


@dataclass(frozen=True)
class Mutant:
    invariant: int
    name: str
    rules: Rules
    scope: Scope


def _decides_again(register: Register, history: History) -> Register:
    if history.last.term != register.claimed.term:
        raise Conflict("superseded")
    return replace(register, decided=Decided(history, register.claimed.seats))


def _decides_older(register: Register, history: History) -> Register:
    if history.last.term == register.decided.history.last.term:
        raise Conflict("decided")
    return replace(register, decided=Decided(history, register.claimed.seats))


def _promises_less(member: Member, term: int) -> Member:
    return replace(member, promised=term)


def _chooses(needed: int, best: Callable[[Answer], Any]) -> Callable[[Claim, Iterable[Answer]], History]:
    def choose(claimed: Claim, answers: Iterable[Answer]) -> History:
        given = [one for one in answers if one.counts and one.identity in claimed.seats]
        if len(given) < needed:
            raise Unavailable("too few")
        log = max(given, key=best).log
        return log.history.then(claimed.term, log.end)

    return choose


def _asks_anybody(claimed: Claim, answers: Iterable[Answer]) -> History:
    """Whoever counts, whether it has a seat or not."""
    given = {one.identity: one for one in answers if one.counts}
    if len(given) < terms.majority(claimed.seats):
        raise Unavailable("too few")
    log = max(given.values(), key=_by_position).log
    return log.history.then(claimed.term, log.end)


def _by_position(one: Answer) -> Any:
    return one.log.position


def _answers_what_was_written(member: Member, records_end: Lsn) -> Answer:
    """A term's start alone is nothing."""
    given = members.answer(member, records_end)
    starts = tuple(one for one in given.log.history.starts if one.start < records_end)
    return replace(given, log=Log(History(starts), records_end))


def _adopts(*order: type[Step], cuts_at_start: bool = False) -> Callable[[Member, History], Step | None]:
    """`next_step` with its steps in another order or left out, or with cuts at the start of the term only."""

    def next_step(member: Member, history: History) -> Step | None:
        start = history.last.start
        shared = start if cuts_at_start else member.log.shared_with(history)
        wanted: dict[type[Step], Step | None] = {
            Promise: Promise(history.last.term) if history.last.term > member.promised else None,
            Cut: Cut(shared) if shared < member.flushed else None,
            Record: Record(history) if member.history != history else None,
            Copy: Copy(member.flushed, start) if member.flushed < start else None,
        }
        if history.last.term < member.promised:
            raise Conflict("stale")
        return next((step for kind in order if (step := wanted[kind])), None)

    return next_step


def _cuts_at_the_start_once(member: Member, history: History) -> Step | None:
    if member.history == history:
        return members.next_step(member, history)
    return _adopts(Promise, Cut, Record, Copy, cuts_at_start=True)(member, history)


def _receives(
    fenced: bool = True, adopted: bool = True, of_term: bool = True, whole: bool = True
) -> Callable[[Member, int, Lsn, Lsn], Member]:
    def receive(member: Member, term: int, start: Lsn, end: Lsn) -> Member:
        last = member.history.last
        refused = [
            fenced and term < member.promised,
            adopted and last.term != term and of_term,
            adopted and member.flushed < last.start,
            whole and start > member.flushed,
        ]
        if any(refused):
            raise Conflict("refused")
        return replace(member, flushed=max(member.flushed, end))

    return receive


def _reports_what_was_adopted(member: Member) -> Report | None:
    """A receiver that lives on after a promise."""
    last = member.history.last
    return Report(member.identity, last.term, member.flushed) if member.flushed >= last.start else None


def _reports_without_adopting(member: Member) -> Report:
    return Report(member.identity, member.promised, member.flushed)


def _commits(
    missing: int = 0,
    any_term: bool = False,
    any_identity: bool = False,
    from_start: bool = True,
    up: bool = True,
) -> Callable[[Decided, Iterable[Report], Lsn | None], Lsn | None]:
    def commit_lsn(decided: Decided, reports: Iterable[Report], known: Lsn | None) -> Lsn | None:
        last = decided.history.last
        flushed: dict[UUID, Lsn] = {}
        for one in reports:
            if not any_term and one.term != last.term:
                continue
            if not any_identity and one.identity not in decided.seats:
                continue
            if not from_start or one.flushed >= last.start:
                flushed[one.identity] = max(one.flushed, flushed.get(one.identity, one.flushed))
        needed = terms.majority(decided.seats) - missing
        if len(flushed) < needed:
            return known if up else None
        now = sorted(flushed.values(), reverse=True)[needed - 1]
        return now if known is None or not up else max(now, known)

    return commit_lsn


def _counts_at_once(register: Register, seat: int, identity: UUID, oldest: Lsn) -> tuple[Register, Member]:
    after, member = terms.enrol(register, seat, identity, oldest)
    return after, replace(member, counts_from=0)


def _lives_on() -> Rules:
    return Rules(receive=_receives(fenced=False), report=_reports_what_was_adopted)


def _adopts_and_reports_early() -> Rules:
    return Rules(report=_reports_without_adopting, commit_lsn=_commits(from_start=False))


TWO = Scope(terms=2, end=1)
THREE = Scope(terms=3, end=1)
LONG = Scope(terms=3, end=2)
FOUR = Scope(terms=4, end=1)
GAP = Scope(terms=1, end=2)
SLOW = Scope(terms=2, end=1, slow=True)
SLOW_THREE = Scope(terms=3, end=1, slow=True)
CRASH = Scope(terms=2, end=1, crashes=True)
GIVEN_UP = Scope(terms=3, end=1, losses=1, seats=1, alive=True)
LOSS = Scope(terms=2, end=1, losses=1)

# What the mutants are made with, with nothing broken: else they could be found out for another reason.
UNBROKEN = Rules(
    choose=_chooses(2, _by_position),
    next_step=_adopts(Promise, Cut, Record, Copy),
    receive=_receives(),
    report=_reports_what_was_adopted,
    commit_lsn=_commits(),
)

MUTANTS = [
    Mutant(1, "two candidates share a term", Rules(decide=_decides_again), SLOW),
    Mutant(1, "two computes are opened in one term", Rules(opens_twice=True), Scope(terms=1, end=1)),
    Mutant(2, "a promise goes down", Rules(promise=_promises_less), TWO),
    Mutant(2, "a promise is answered before it is saved", Rules(answers_before_saving=True), CRASH),
    Mutant(3, "the receiver of an older term lives on", _lives_on(), TWO),
    Mutant(4, "a minority is asked", Rules(choose=_chooses(1, _by_position)), TWO),
    Mutant(4, "who was given up has a say", Rules(choose=_asks_anybody), GIVEN_UP),
    Mutant(5, "the longest WAL is chosen", Rules(choose=_chooses(2, lambda one: one.log.end)), LONG),
    Mutant(5, "any WAL is chosen", Rules(choose=_chooses(2, lambda one: -one.log.end.value)), TWO),
    Mutant(6, "a term's start alone is nothing", Rules(answer=_answers_what_was_written), FOUR),
    Mutant(7, "an older term is decided after a newer one", Rules(decide=_decides_older), SLOW_THREE),
    Mutant(8, "WAL is cut at the start only", Rules(next_step=_cuts_at_the_start_once), THREE),
    Mutant(
        8,
        "adopting again cuts again",
        Rules(next_step=_adopts(Promise, Cut, Record, Copy, cuts_at_start=True)),
        TWO,
    ),
    Mutant(
        9,
        "the history is recorded before the cut",
        Rules(next_step=_adopts(Promise, Record, Cut, Copy)),
        THREE,
    ),
    Mutant(9, "WAL is copied before the history", Rules(next_step=_adopts(Promise, Cut, Copy, Record)), FOUR),
    Mutant(10, "WAL is copied from anybody", Rules(supplies=lambda peer, _: peer.flushed), THREE),
    Mutant(11, "WAL is received before the term is adopted", Rules(receive=_receives(adopted=False)), LONG),
    Mutant(
        11, "WAL of another compute is received", Rules(receive=_receives(fenced=False, of_term=False)), TWO
    ),
    Mutant(11, "WAL is received after a gap", Rules(receive=_receives(whole=False)), GAP),
    Mutant(12, "WAL is reported before it is synced", Rules(reports_before_syncing=True), CRASH),
    Mutant(12, "reports of older terms count", Rules(commit_lsn=_commits(any_term=True)), THREE),
    Mutant(
        12, "older WAL is reported as the promised term's", Rules(report=_reports_without_adopting), THREE
    ),
    Mutant(13, "a minority commits", Rules(commit_lsn=_commits(missing=1)), TWO),
    Mutant(13, "there is a commit LSN before the start is adopted", _adopts_and_reports_early(), TWO),
    Mutant(13, "the commit LSN follows who answers", Rules(commit_lsn=_commits(up=False)), LOSS),
    Mutant(
        13, "an identity and its replacement count twice", Rules(commit_lsn=_commits(any_identity=True)), LOSS
    ),
    Mutant(14, "a replacement counts at once", Rules(enrol=_counts_at_once), LOSS),
    Mutant(14, "a replacement asks the others", Rules(asks_others=True), LOSS),
]
