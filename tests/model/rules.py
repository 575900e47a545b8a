"""The seam between the model and what it checks: the safekeeper's own functions, one field each.

A mutant replaces one of them. The flags at the end are the caller's part of the invariants: orders of durable
effects that are no function's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms import register as terms
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer, Member, Report, Step
from neon_compose.terms.register import Claim, Decided, Register


@dataclass(frozen=True)
class Rules:
    promise: Callable[[Member, int], Member] = members.promise
    answer: Callable[[Member, Lsn], Answer] = members.answer
    next_step: Callable[[Member, History], Step | None] = members.next_step
    supplies: Callable[[Member, History], Lsn] = members.supplies
    receive: Callable[[Member, int, Lsn, Lsn], Member] = members.receive
    report: Callable[[Member], Report | None] = members.report
    hear_commit: Callable[[Member, int, Lsn], Member] = members.hear_commit
    enrol: Callable[[Register, int, UUID, Lsn], tuple[Register, Member]] = terms.enrol
    choose: Callable[[Claim, Iterable[Answer]], History] = terms.choose
    decide: Callable[[Register, History], Register] = terms.decide
    commit_lsn: Callable[[Decided, Iterable[Report], Lsn | None], Lsn | None] = terms.commit_lsn

    answers_before_saving: bool = False  # against 2
    reports_before_syncing: bool = False  # against 12
    opens_twice: bool = False  # against 1: a second compute is laid out under one term
    asks_others: bool = False  # against 14: a replacement asks the others instead of waiting for a term


@dataclass(frozen=True)
class Scope:
    """How much there is of everything. Lost, late and repeated messages and dead candidates are always in."""

    terms: int = 3  # the first one has begun
    end: int = 2  # the last LSN that is ever written
    losses: int = 0  # volumes lost
    seats: int = 3
    crashes: bool = False  # receiving and syncing are two steps, and a crash may come between
    slow: bool = False  # candidates of superseded terms go on with the answers they have
    told: bool = False  # members are told the commit LSN
    alive: bool = False  # who is replaced isn't lost, and goes on

    def __str__(self) -> str:
        most = f"{self.seats}_seats_{self.terms}_terms_{self.end}_lsns_{self.losses}_losses"
        return "_".join(
            [most, *(name for name in ("crashes", "slow", "told", "alive") if getattr(self, name))]
        )
