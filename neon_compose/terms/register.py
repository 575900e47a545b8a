"""Terms of a branch: how a new one begins, who may take part, and what is committed. Pure.

Raft's election and log matching, for WAL instead of entries, with one thing Raft lacks: a register that
changes by compare-and-swap, the branch's manifest. n seats, k = n // 2 + 1. A candidate claims a term,
gathers promises, chooses a history, has it decided, opens a compute at its last start; members adopt it and
receive. It may die anywhere: what it claimed stays claimed, and the next candidate claims the next term.

What follows holds for every commit LSN and for every later term: the later term's history contains it. (The
commit LSN counts bytes. A record of which only a part is below it is not committed, and may be cut.) In
brackets what comes without the rule; tests/model removes each and shows how.

1.  A term is claimed in the manifest by compare-and-swap before anyone is asked to promise it. Its claimer
    chooses once, and one compute, laid out once, writes under it; whoever lost what it chose, or lays out
    anew, claims another. (Started again on its own data directory it is the same compute: a primary sends no
    WAL that it hasn't synced.) [Two computes write different WAL under one term, which nothing can tell
    apart: both get acknowledgements at the same LSN.]
2.  Promises only go up, and are durable before they are answered. [A late or repeated request, or a crash,
    takes a promise back, and an older compute gets a majority again behind the newer one's back.]
3.  A member receives nothing of a term older than its promise; its receivers are dead before it reads the end
    that it answers. [What arrives between answer and decision is acknowledged and isn't in the choice.]
4.  The choice is made from the answers of k seats, each by the identity that sat there when the term was
    claimed, and only if it counts. [A minority needn't know the last commit. An identity that was given up
    for lost and isn't would be one more seat.]
5.  The best answer is the one with the highest (last WAL term, end). [A long tail of an old term, which was
    never acknowledged, beats the acknowledged WAL of a newer one.]
6.  Who holds a term's history up to its start has WAL of that term, be it none yet. [Figure 8 of the Raft
    paper: old WAL on a majority, under a new term that wrote nothing, counts as committed and loses against
    a term in between.]
7.  The manifest takes the history of the highest claimed term only, in place of the one before: a term that
    was decided but adopted by few may not be part of the next one. [A slow candidate puts its older choice
    over a newer one, and layers, snapshots and members follow it.]
8.  A member that adopts a history cuts its WAL where the two part, which may be before the start S; not at
    all if it has that history. [Cutting at S leaves another term's bytes below S; cutting at S again, on a
    repeated request, takes back WAL that was acknowledged since.]
9.  Adopting is: promise, cut, record, copy, each durable before the next. [With the history recorded before
    the cut, or bytes copied before it is recorded, a crash between leaves WAL under another term's name.]
10. WAL is copied only from who shares the history up to there. [A peer that was cut or runs ahead under
    another term hands out bytes that the history doesn't mean.]
11. A member receives under the term it adopted only, once whole up to its start, without a gap, and from a
    compute that proved to be of that branch and term. [A late stream of an older compute, or one on a reused
    port, ends up under the newer term.]
12. What is reported is synced, and belongs to the report's term. [A crash takes back what was counted; WAL
    of an older term counts for positions of the newer one.]
13. The commit LSN is what k identities that had seats when the term was claimed have flushed in it; there is
    none before k adopted the term, and it never goes down. [See 4 and 6; an identity that lost its volume and
    its replacement count as two copies.]
14. Whoever takes a seat that had another identity has no say in the terms claimed so far, and counts in later
    ones once it has WAL of one of them. [The lost volume held promises and WAL; both are forgotten, and a
    majority with the replacement needn't know what one with the lost identity acknowledged.]

Why 14 doesn't simply ask n-k+1 others: what the lost identity said may still be under way. It acknowledged
WAL that one other flushes *after* it was asked by the replacement, and that replacement with the third seat
then elects without it; the same with a promise. A later claim can't be answered by the dead, and its
majority fences all older terms. So after a loss the next term restores redundancy; start one soon. A branch
that nobody writes to can have one without a compute.

For the caller: `claim`, `enrol` and `decide` are applied to the manifest as just read, and written by
compare-and-swap, else applied anew. The state that `enrol` returns is durable in the volume before the seat
is in the manifest: so a volume without the state of a branch in which its identity has a seat has lost it,
and needs a new identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from neon_compose.errors import Bug, Conflict, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History, Position
from neon_compose.terms.members import Answer, Member, Report

Seats = tuple[UUID | None, ...]


@dataclass(frozen=True)
class Claim:
    """A term and who has a say in it: the seats as they were when it was claimed."""

    term: int
    seats: Seats


@dataclass(frozen=True)
class Decided:
    """A term that a compute may open at the last start of `history`, and whose flush counts in it."""

    history: History
    seats: Seats


@dataclass(frozen=True)
class Register:
    """What the protocol keeps in the branch's manifest."""

    seats: Seats
    claimed: Claim
    decided: Decided


@dataclass(frozen=True)
class Missing:
    """WAL [start, end) that `identity` lacks, and the member that has it; None is the archive."""

    identity: UUID
    start: Lsn
    end: Lsn
    source: UUID | None


def new_register(seats: int) -> Register:
    """Of a branch that has no members yet. Raises `Bug` without a seat."""
    if seats < 1:
        raise Bug("a branch needs a safekeeper's seat")
    empty: Seats = (None,) * seats
    return Register(empty, Claim(0, empty), Decided(History(), empty))


def majority(seats: Seats) -> int:
    return len(seats) // 2 + 1


def enrol(
    register: Register, seat: int, identity: UUID, oldest: Lsn, history: History | None = None
) -> tuple[Register, Member]:
    """Give `seat` to an empty volume; `oldest` is where the WAL that is still needed begins. `history` is
    that of a register which was `reseated`: it ends at `oldest`.

    The member is durable before the register is written (see above). Invariant 14; that it promises the
    highest claimed term is no part of that, it spares the member receivers of terms that are ending.
    """
    if identity in register.seats:
        raise Bug(f"safekeeper {identity} has a seat")
    term = register.claimed.term
    is_first = register.seats[seat] is None
    counts_from = 0 if is_first else term + 1
    member = Member(identity, term, history or History(), oldest, oldest, counts_from=counts_from)
    seats = (*register.seats[:seat], identity, *register.seats[seat + 1 :])
    return replace(register, seats=seats), member


def reseated(register: Register, seats: int, end: Lsn) -> Register:
    """With nobody in its seats, for a branch whose safekeepers are gone, or are to be more or fewer.

    Only where no compute of a claimed term runs or will, so nobody is acknowledged anything by those who sat
    here; and all that was, or that is to count, is in the archive up to `end`. A term begins there that no
    compute writes under. Whoever is enrolled next is given its history and end, as if it had adopted it: so
    whichever k of them promise a later term know all of it, and all of them count, whatever they were before.
    What an old member still has of the branch gives way to that (members.installed).
    """
    empty: Seats = (None,) * seats
    term = max(register.claimed.term, register.decided.history.last.term) + 1
    return Register(empty, Claim(term, empty), Decided(register.decided.history.then(term, end), empty))


def claim(register: Register) -> Register:
    """The next term for the caller, if its compare-and-swap succeeds. Invariant 1."""
    return replace(register, claimed=Claim(register.claimed.term + 1, register.seats))


def choose(claimed: Claim, answers: Iterable[Answer]) -> History:
    """The history of the claimed term: the best answer's, with the term at its end. Invariants 4 and 5.

    Raises `Unavailable` code "no_majority" as long as fewer than k seats that count have promised, `Conflict`
    code "superseded" if one has WAL of the claimed term: then there was a choice.
    """
    given = {
        one.identity: one
        for one in answers
        if one.term == claimed.term and one.counts and one.identity in claimed.seats
    }
    needed = majority(claimed.seats)
    if len(given) < needed:
        raise Unavailable(
            f"{len(given)} of {len(claimed.seats)} safekeepers promised term {claimed.term}",
            detail=f"A new primary needs {needed} that hold this branch's history.",
            hint="Start the safekeepers that are down: neon-compose status shows them. If their volumes are "
            "gone for good: neon-compose branch recover",
            code="no_majority",
        )
    best = max(given.values(), key=_position).log
    if best.position.term >= claimed.term:  # the answer to a repeated request, after the decision
        raise _superseded(claimed.term, "It was decided, and there is WAL of it or of a later one.")
    return best.history.then(claimed.term, best.end)


def missing(history: History, answers: Iterable[Answer]) -> tuple[Missing, ...]:
    """What each of those who answered has to copy before it has all WAL up to the start, and from whom.

    From the one that keeps most of it; what nobody keeps any more is committed, and in the archive.
    """
    given = sorted(answers, key=lambda one: one.identity)
    start = history.last.start
    whole = [one for one in given if one.log.shared_with(history) >= start]
    if not whole:
        raise Bug("nobody who answered holds the history")
    source = min(whole, key=lambda one: one.oldest)
    found = []
    for one in given:
        have = one.log.shared_with(history)
        middle = min(max(have, source.oldest), start)
        if have < middle:
            found.append(Missing(one.identity, have, middle, None))
        if middle < start:
            found.append(Missing(one.identity, middle, start, source.identity))
    return tuple(found)


def decide(register: Register, history: History) -> Register:
    """Put the chosen history in the manifest. Repeat is success. Invariant 7.

    Raises `Conflict` code "superseded" if a later term was claimed, or this one decided otherwise.
    """
    if register.decided.history == history:
        return register
    if not register.decided.history.last.term < history.last.term == register.claimed.term:
        raise _superseded(
            history.last.term, f"Term {register.claimed.term} was claimed by another start of this branch."
        )
    return replace(register, decided=Decided(history, register.claimed.seats))


def commit_lsn(decided: Decided, reports: Iterable[Report], known: Lsn | None = None) -> Lsn | None:
    """What k members have flushed in the decided term, `known` if that is more; None before k adopted it.

    Invariant 13; `known` is of the same term. Reports may be late, repeated and in any order.
    """
    term, start = decided.history.last.term, decided.history.last.start
    flushed: dict[UUID, Lsn] = {}
    for one in reports:
        if one.term == term and one.identity in decided.seats and one.flushed >= start:
            flushed[one.identity] = max(one.flushed, flushed.get(one.identity, start))
    needed = majority(decided.seats)
    if len(flushed) < needed:
        return known
    now = sorted(flushed.values(), reverse=True)[needed - 1]
    return now if known is None else max(known, now)


def _position(one: Answer) -> Position:
    return one.log.position


def _superseded(term: int, detail: str) -> Conflict:
    return Conflict(
        f"term {term} was superseded",
        detail=detail,
        hint="Look at neon-compose status: the branch may have its primary already. Else repeat this.",
        code="superseded",
    )
