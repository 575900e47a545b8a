"""One safekeeper's durable state of one branch, and the only ways it changes. Pure.

Each function returns the state that must be durable before anything else happens: before the answer is sent,
the next step is begun, a receiver is started. `next_step` and `after` are a plan and its effect, one durable
change at a time, so that a crash between any two leaves a state that `next_step` goes on from. The invariants
cited by number are in `register`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import assert_never
from uuid import UUID

from neon_compose.errors import Conflict, Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History, Log


@dataclass(frozen=True)
class Member:
    """What a safekeeper must never forget of a branch.

    `oldest` and `flushed` bound the WAL it holds. `counts_from` is the first term whose WAL makes a
    replacement count (invariant 14), 0 for a seat's first member. `committed` is the highest commit LSN it
    was told: a lower bound, used to refuse what can only be damage. `flushed` is not stored but found in the
    WAL, and synced again, at every start: what a crash left of unsynced WAL may be there or not.
    """

    identity: UUID
    promised: int
    history: History
    oldest: Lsn
    flushed: Lsn
    counts_from: int = 0
    committed: Lsn = field(default=Lsn(0))

    @property
    def log(self) -> Log:
        return Log(self.history, self.flushed)

    @property
    def counts(self) -> bool:
        return self.log.position.term >= self.counts_from


@dataclass(frozen=True)
class Answer:
    """To the candidate of `term`: it is promised, and this is the WAL there is."""

    identity: UUID
    term: int
    log: Log
    oldest: Lsn
    counts: bool


@dataclass(frozen=True)
class Report:
    """WAL of `term` is durable here up to `flushed`."""

    identity: UUID
    term: int
    flushed: Lsn


@dataclass(frozen=True)
class Promise:
    """Record the promise, after the receivers of older terms are killed and reaped."""

    term: int


@dataclass(frozen=True)
class Cut:
    """Remove the segments after the one of `at`, the newest first, then zero that one from `at` on; sync.

    In this order a crash leaves less of the same WAL. The other way round it leaves stale segments after a
    gap, which no later start finds: once the gap is filled again their records are replayed.
    """

    at: Lsn


@dataclass(frozen=True)
class Record:
    """Record the history."""

    history: History


@dataclass(frozen=True)
class Copy:
    """Take [start, end) from peers that `supplies` names, or the archive; sync. Less is fine."""

    start: Lsn
    end: Lsn


Step = Promise | Cut | Record | Copy


def promise(member: Member, term: int) -> Member:
    """Promise to take no WAL of a term before `term`. Repeat is success: a term has one candidate.

    Before it is recorded the receivers of older terms are dead: the answer tells an end that no longer
    moves. Raises `Conflict` code "stale_term".
    """
    if term < member.promised:
        raise _stale(member, term)
    return replace(member, promised=term)


def answer(member: Member, records_end: Lsn) -> Answer:
    """What to tell the candidate of the promised term; `records_end` is the end of the last whole record.

    Raises `Corrupt` if records end where they can't: a damaged byte must not pass for the end of the WAL.
    """
    floor = max(member.committed, member.oldest, member.history.up_to(member.flushed).last.start)
    if not floor <= records_end <= member.flushed:
        raise Corrupt(
            f"WAL ends at {records_end}, but was flushed to {member.flushed}",
            detail=f"Records are known to go on to {floor} at least.",
            hint="This safekeeper's copy is damaged. Give it an empty volume: it is filled from the others.",
            code="wal_damaged",
        )
    log = Log(member.history.up_to(records_end), records_end)
    return Answer(member.identity, member.promised, log, member.oldest, member.counts)


def next_step(member: Member, history: History) -> Step | None:
    """What to do next to adopt the last term of `history` at its start; None if it is adopted.

    Raises `Conflict` code "stale_term" if a later one was promised, `Corrupt` code "wal_damaged" if it would
    cut what is committed: then this member's history or the decided one is not what was written.
    """
    term, start = history.last.term, history.last.start
    if term < member.promised:
        raise _stale(member, term)
    if term > member.promised:
        return Promise(term)
    shared = member.log.shared_with(history)
    if shared < member.flushed:
        return _cut(member, shared, history)
    if member.history != history:
        return Record(history)
    return Copy(member.flushed, start) if member.flushed < start else None


def after(member: Member, step: Step) -> Member:
    """The state once `step` is durable."""
    match step:
        case Promise():
            return promise(member, step.term)
        case Cut():
            return replace(member, flushed=step.at)
        case Record():
            return replace(member, history=step.history)
        case Copy():
            return replace(member, flushed=step.end)
        case _:
            assert_never(step)


def supplies(peer: Member, history: History) -> Lsn:
    """Up to where `peer` may be copied from by a member that adopts `history`; it holds WAL from `oldest`."""
    return peer.log.shared_with(history)


def may_receive(member: Member, term: int) -> bool:
    """Whether a receiver of `term` may run: promised to nothing later, adopted, whole up to the start."""
    start = member.history.last
    return member.promised == term == start.term and member.flushed >= start.start


def receive(member: Member, term: int, start: Lsn, end: Lsn) -> Member:
    """WAL [start, end) of `term`'s own compute is synced here.

    Raises `Conflict` code "stale_term", "not_adopted", or "wal_gap" if it lacks what comes before.
    """
    if term < member.promised:
        raise _stale(member, term)
    if not may_receive(member, term):
        raise Conflict(
            f"term {term} is not adopted", detail=f"History: {member.history}.", code="not_adopted"
        )
    if start > member.flushed:
        raise Conflict(f"WAL from {start} would leave a gap after {member.flushed}", code="wal_gap")
    return replace(member, flushed=max(member.flushed, end))


def report(member: Member) -> Report | None:
    """What is flushed of the term that may be received; None before that."""
    if not may_receive(member, member.promised):
        return None
    return Report(member.identity, member.promised, member.flushed)


def hear_commit(member: Member, term: int, commit: Lsn) -> Member:
    """Note a commit LSN of `term`, cut down to the end of a record; needn't be durable at once.

    Within a record it would refuse the next term, which starts where that record did. Nothing is noted unless
    the term is adopted here: before that, WAL below `commit` may be another term's.
    """
    if not may_receive(member, term):
        return member
    return replace(member, committed=max(member.committed, min(commit, member.flushed)))


def trim(member: Member, needed: Lsn) -> Member:
    """WAL before `needed` is archived and covered by a layer. Removes nothing that isn't committed."""
    return replace(member, oldest=max(member.oldest, min(needed, member.committed)))


def installed(member: Member, wanted: Member) -> Member | None:
    """What a member becomes that is to hold `wanted`'s history from its end on; None if it does already.

    Raft's InstallSnapshot. `wanted` ends at a committed LSN of its history, so every later term contains it:
    a log that doesn't, because it was cut off from others who have trimmed since or because it is of a term
    that was not decided, holds nothing that is needed. Promises stay, and whether it counts.
    """
    terms = wanted.history.starts
    if (
        member.history.starts[: len(terms)] == terms
        and member.log.shared_with(wanted.history) >= wanted.flushed
    ):
        return None
    return replace(
        wanted,
        promised=max(member.promised, wanted.promised),
        counts_from=max(member.counts_from, wanted.counts_from),
        committed=wanted.flushed,
    )


def _cut(member: Member, at: Lsn, history: History) -> Cut:
    if at >= max(member.committed, member.oldest):
        return Cut(at)
    raise Corrupt(
        f"adopting term {history.last.term} would cut committed WAL",
        detail=f"This member's history is {member.history}, the decided one {history}; "
        f"they part at {at}, {member.committed} is committed.",
        hint="Keep all volumes of this stack as they are, and report it.",
        code="wal_damaged",
    )


def _stale(member: Member, term: int) -> Conflict:
    return Conflict(
        f"term {term} is over",
        detail=f"This safekeeper promised term {member.promised}.",
        code="stale_term",
    )
