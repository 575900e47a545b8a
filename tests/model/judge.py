"""What must never be: acknowledged WAL that is lost or doubled, and a commit LSN that falls."""

from __future__ import annotations

from neon_compose.model.lsn import Lsn
from tests.model.state import Term, Wal


def bytes_of(term: Term) -> Wal:
    """What a term's WAL is: what its compute has, or else what its history promises."""
    if term.wal is not None:
        return term.wal
    return tuple(term.history.up_to(Lsn(at)).last.term * 10 for at in range(term.start.value))


def lost(decided: tuple[Term, ...]) -> str | None:
    """What was acknowledged in a term and isn't in one decided after it, or twice at one LSN."""
    for n, one in enumerate(decided):
        if one.commit is None:
            continue
        if one.fell:
            return f"the commit LSN of term {one.number} went down from {one.commit}"
        commit = one.commit.value
        mine = bytes_of(one)[:commit]
        for other in decided[n + 1 :]:
            theirs = bytes_of(other)
            if one.number == other.number:
                if other.commit and mine[: other.commit.value] != theirs[:commit][: other.commit.value]:
                    return f"two computes acknowledged different WAL in term {one.number}: {mine}, {theirs}"
            elif other.start < one.commit or mine != theirs[:commit]:
                return (
                    f"term {one.number} acknowledged {mine} up to {one.commit}, "
                    f"term {other.number} was decided to begin at {other.start} "
                    f"after {theirs[: other.start.value]}"
                )
            if other.commit is not None and other.commit < one.commit:
                return f"the commit LSN went down from {one.commit} to {other.commit}"
    return None
