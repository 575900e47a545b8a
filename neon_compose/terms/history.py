"""Whose WAL a log holds: the terms that wrote it, and where each began.

A *history* is what makes two logs comparable. Within a term all WAL comes from one compute (invariant 1 in
`register`), so WAL at one LSN is the same bytes wherever the histories agree up to there, and can't be
relied on to be where they don't: computes of two terms write different bytes at the same LSN, on the same
timeline.

Invariant: entries have rising terms and starts that never fall, and the last one is open-ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from neon_compose.errors import Bug
from neon_compose.model.lsn import Lsn


@dataclass(frozen=True, order=True)
class TermStart:
    """The WAL from `start` on is the one of `term`, until a later term starts."""

    term: int
    start: Lsn


@dataclass(frozen=True, order=True)
class Position:
    """How far a log is, the last term first: a long tail of an old term is worth less than a new one's."""

    term: int
    end: Lsn


@dataclass(frozen=True)
class History:
    """The terms of a log from the branch's first one on. Empty: nothing was ever written."""

    starts: tuple[TermStart, ...] = ()

    def __post_init__(self) -> None:
        if any(b.term <= a.term or b.start < a.start for a, b in pairwise(self.starts)):
            raise Bug(f"terms out of order: {self}")

    @property
    def last(self) -> TermStart:
        """The last term and its start; term 0 where there is none."""
        return self.starts[-1] if self.starts else TermStart(0, Lsn(0))

    def up_to(self, end: Lsn) -> History:
        """The terms that a log with this history and this end has reached.

        One that starts exactly at the end counts: holding all that a term began with is holding its first,
        empty, entry (invariant 6 in `register`).
        """
        return History(tuple(one for one in self.starts if one.start <= end))

    def then(self, term: int, start: Lsn) -> History:
        """This history, cut at `start`, where `term` goes on."""
        return History((*self.up_to(start).starts, TermStart(term, start)))

    def __str__(self) -> str:
        return ", ".join(f"{one.term} from {one.start}" for one in self.starts) or "no terms"


@dataclass(frozen=True)
class Log:
    """WAL up to `end`, written by the terms of `history`; those that start after `end` are not in it yet."""

    history: History
    end: Lsn

    @property
    def position(self) -> Position:
        return Position(self.history.up_to(self.end).last.term, self.end)

    def shared_with(self, history: History) -> Lsn:
        """Up to where this log's WAL is WAL of `history`; `end` if all of it is.

        Neither log's end can tell: of two logs that end at one LSN, one may hold another term's bytes.
        """
        if not self.history.starts:
            return self.end  # an empty log begins where its WAL will
        mine, theirs = self.history.starts, history.starts
        same = 0
        while same < min(len(mine), len(theirs)) and mine[same] == theirs[same]:
            same += 1
        parts = [one[same].start for one in (mine, theirs) if same < len(one)]
        return min([self.end, *parts])
