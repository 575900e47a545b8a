"""Histories and members for tests of the safekeeper's rules."""

from __future__ import annotations

from uuid import UUID

from hypothesis import strategies as st

from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History, TermStart
from neon_compose.terms.members import Member

MOST_TERMS = 6
MOST_LSN = 8


def history(*starts: tuple[int, int]) -> History:
    return History(tuple(TermStart(term, Lsn(start)) for term, start in starts))


def member(flushed: int, *starts: tuple[int, int], promised: int | None = None, number: int = 1) -> Member:
    """One that holds WAL from 0 up to `flushed`; promised is its history's last term unless given."""
    found = history(*starts)
    return Member(
        UUID(int=number), found.last.term if promised is None else promised, found, Lsn(0), Lsn(flushed)
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    terms = sorted(draw(st.sets(st.integers(1, MOST_TERMS), max_size=4)))
    starts = sorted(draw(st.lists(st.integers(0, MOST_LSN), min_size=len(terms), max_size=len(terms))))
    return history(*zip(terms, starts, strict=True))


@st.composite
def family(draw: st.DrawFn) -> tuple[History, ...]:
    """Histories of one branch: each term begins once, at one LSN, after one history."""
    found = [History()]
    for term in range(1, draw(st.integers(2, MOST_TERMS))):
        before = draw(st.sampled_from(found))
        lowest = before.last.start.value
        found.append(before.then(term, Lsn(draw(st.integers(lowest, MOST_LSN)))))
    return tuple(found)


def bytes_of(one: History, end: Lsn) -> tuple[int, ...]:
    """The plain model of WAL with this history: which term wrote each byte."""
    return tuple(one.up_to(Lsn(at)).last.term for at in range(end.value))
