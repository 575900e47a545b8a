"""What a state of the model is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer, Member, Report

X = TypeVar("X")
Wal = tuple[int, ...]
GARBAGE = 0  # what a gap reads as


@dataclass(frozen=True)
class Node:
    """A seat: the safekeeper on it, and all that any safekeeper on it ever said.

    `member` is what it goes by, `disk` what a crash leaves; `unsynced` is received WAL after `wal`, and the
    term it is of. `seated` is the term that was claimed when each of its identities came. Identities are
    numbered per seat, and made unique by the seat's place when a function needs it. `given_up` is the one
    before, if it was replaced and is alive; what it says is kept here too.
    """

    member: Member
    disk: Member
    wal: Wal = ()
    unsynced: tuple[int, Wal] = (0, ())
    seated: tuple[int, ...] = (0,)
    answers: frozenset[Answer] = frozenset()
    reports: frozenset[Report] = frozenset()
    given_up: Node | None = None

    def alive(self) -> Iterator[tuple[str, Node, Callable[[Node], Node]]]:
        """The safekeepers of this seat: how a text with {} calls each, what it is, where its change goes."""
        yield "{}", self, lambda after: after
        if self.given_up is not None:
            old = replace(self.given_up, answers=self.answers, reports=self.reports)
            yield "the old {}", old, self._with_old

    def _with_old(self, after: Node) -> Node:
        old = replace(after, answers=frozenset(), reports=frozenset())
        return replace(self, given_up=old, answers=after.answers, reports=after.reports)


@dataclass(frozen=True)
class Term:
    """A decided term, the WAL of its compute once that is open, and the commit LSN it got to.

    `fell`: somebody who knew that asked again, when only those on the seats answered, and heard of less.
    """

    history: History
    compute: int
    wal: Wal | None = None
    commit: Lsn | None = None
    fell: bool = False

    @property
    def number(self) -> int:
        return self.history.last.term

    @property
    def start(self) -> Lsn:
        return self.history.last.start


class State(NamedTuple):
    """Numbers of interned things, so that states are small and compare fast."""

    claimed: int
    terms: int
    nodes: tuple[int, ...]


class Interned(Generic[X]):
    def __init__(self) -> None:
        self._number: dict[X, int] = {}
        self._all: list[X] = []

    def number(self, one: X) -> int:
        found = self._number.setdefault(one, len(self._all))
        if found == len(self._all):
            self._all.append(one)
        return found

    def __getitem__(self, number: int) -> X:
        return self._all[number]


@cache
def identity(place: int, number: int) -> UUID:
    return UUID(int=100 * (place + 1) + number)


@cache
def seats(seated: tuple[tuple[int, ...], ...], term: int) -> tuple[UUID | None, ...]:
    """Who sat where when `term` was claimed."""
    return tuple(identity(place, sum(since < term for since in one[1:])) for place, one in enumerate(seated))


def local(member: Member) -> Member:
    return replace(member, identity=UUID(int=member.identity.int % 100))


def as_the_others(member: Member, others: list[Node]) -> tuple[Member, Wal]:
    """What a replacement could learn by asking all others at once: their promises, and the best one's WAL."""
    best = max(others, key=lambda one: one.member.log.position)
    promised = max(member.promised, *(one.member.promised for one in others))
    learnt = replace(best.member, identity=member.identity, promised=promised, counts_from=0)
    return learnt, best.wal


def put(wal: Wal, start: int, more: Wal) -> Wal:
    """Bytes written at `start`: what lies between reads as garbage, what lies after stays."""
    return (wal + (GARBAGE,) * (start - len(wal)))[:start] + more + wal[start + len(more) :]


def said(node: Node, report: Report | None) -> Node:
    """Of one identity's reports of one term the highest is all that matters."""
    if report is None:
        return node
    same = {one for one in node.reports if (one.identity, one.term) == (report.identity, report.term)}
    highest = max((*same, report), key=lambda one: one.flushed)
    return replace(node, reports=node.reports - same | {highest})
