"""What a safekeeper does when a message comes, it syncs, or it crashes: the next nodes of one node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from typing import TypeVar

from neon_compose.errors import NeonError
from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms.history import History
from neon_compose.terms.members import Copy, Cut, Member, Promise, Record
from tests.model.rules import Rules, Scope
from tests.model.state import Node, Term, Wal, put, said

X = TypeVar("X")


class Safekeeper:
    """`refusals` are the errors by which a function says no; anything else ends the check."""

    def __init__(self, scope: Scope, rules: Rules, refusals: tuple[type[NeonError], ...]) -> None:
        self.scope = scope
        self.rules = rules
        self.refusals = refusals

    def allowed(self, call: Callable[[], X]) -> X | None:
        """What the function returns, None if it refuses."""
        try:
            return call()
        except self.refusals:
            return None

    def changes(self, seat: Node, decided: tuple[Term, ...], claimed: int) -> Iterator[tuple[str, Node]]:
        """What can happen to a safekeeper of `seat` by itself."""
        for name, node, back in seat.alive():
            for text, after in self._changes(node, decided, claimed):
                yield text.replace("{}", name), back(after)

    def copies(self, seat: Node, other: Node, decided: tuple[Term, ...]) -> Iterator[tuple[str, Node]]:
        """What a safekeeper of `seat` can copy from one of `other`, which may be the same seat."""
        for (name, node, back), (from_name, peer, _) in product(seat.alive(), other.alive()):
            for end, after in self._copies(node, peer, decided):
                yield f"{name} copies up to {end} from {from_name}", back(after)

    def _changes(self, node: Node, decided: tuple[Term, ...], claimed: int) -> Iterator[tuple[str, Node]]:
        over = {one.number for one in decided}
        for term in range(1, claimed + 1):
            # Nobody waits for the answer to any other request, and a promise alone only ever forbids.
            if term < node.member.promised or (term not in over and (term == claimed or self.scope.slow)):
                yield from self._promises(node, term, claimed, decided)
        for one in decided:
            yield from self._adopts(node, one.history)
            if one.wal is not None:
                yield from self._receives(node, one.number, one.wal)
            if self.scope.told and one.commit is not None:
                yield f"{{}} is told commit {one.commit}", self._hears(node, one)
        if self.scope.crashes:
            yield from self._syncs(node)
            saved = replace(node, member=node.disk, unsynced=(0, ()))
            yield "{} crashes and comes back", saved
            yield "{} saves its state", replace(node, disk=node.member)

    def _promises(
        self, node: Node, term: int, claimed: int, decided: tuple[Term, ...]
    ) -> Iterator[tuple[str, Node]]:
        member = self.allowed(partial(self.rules.promise, node.member, term))
        if member is None:
            return
        after = replace(node, member=member, unsynced=(0, ()))
        if not self.rules.answers_before_saving:
            after = replace(after, disk=member)
        is_open = term == claimed and all(one.number != term for one in decided)
        given = self.allowed(partial(self.rules.answer, member, member.flushed))
        if given is not None and (is_open or self.scope.slow) and term > 1:
            given = replace(given, term=term)
            after = replace(after, answers=after.answers | {given})
        yield f"{{}} promises term {term}", after

    def _adopts(self, node: Node, history: History) -> Iterator[tuple[str, Node]]:
        step = self.allowed(partial(self.rules.next_step, node.member, history))
        if step is None or isinstance(step, Copy):
            return
        after = replace(node, unsynced=(0, ()))
        match step:
            case Promise():
                text = f"{{}} promises term {step.term} to adopt it"
            case Cut():
                after = replace(after, wal=node.wal[: step.at.value])
                text = f"{{}} cuts its WAL at {step.at}"
            case Record():
                text = f"{{}} records: {step.history}"
        yield text, self._saved(after, members.after(node.member, step))

    def _receives(self, node: Node, term: int, wal: Wal) -> Iterator[tuple[str, Node]]:
        for start, end in combinations(range(self.scope.end + 1), 2):
            given = (term, Lsn(start), Lsn(end))
            member = self.allowed(partial(self.rules.receive, node.member, *given))
            if member is None:
                continue
            text = f"{{}} receives {Lsn(start)} to {Lsn(end)} of term {term}"
            if not self.scope.crashes:
                yield text, self._saved(replace(node, wal=put(node.wal, start, wal[start:end])), member)
            elif start == len(node.wal):
                after = replace(node, unsynced=(term, wal[start:end]))
                if self.rules.reports_before_syncing:
                    after = said(after, self.rules.report(member))
                yield text, after

    def _syncs(self, node: Node) -> Iterator[tuple[str, Node]]:
        term, more = node.unsynced
        if more:
            start = len(node.wal)
            given = (term, Lsn(start), Lsn(start + len(more)))
            member = self.allowed(partial(self.rules.receive, node.member, *given))
            if member is not None:
                after = replace(node, wal=node.wal + more, unsynced=(0, ()))
                yield f"{{}} syncs up to {member.flushed}", self._saved(after, member)

    def _hears(self, node: Node, term: Term) -> Node:
        assert term.commit is not None
        member = self.rules.hear_commit(node.member, term.number, term.commit)
        return replace(node, member=member, disk=member)

    def _saved(self, node: Node, member: Member) -> Node:
        return said(replace(node, member=member, disk=member), self.rules.report(member))

    def _copies(self, node: Node, peer: Node, decided: tuple[Term, ...]) -> Iterator[tuple[Lsn, Node]]:
        for one in decided:
            step = self.allowed(partial(self.rules.next_step, node.member, one.history))
            if not isinstance(step, Copy):
                continue
            most = min(step.end.value, self.rules.supplies(peer.member, one.history).value, len(peer.wal))
            for end in range(step.start.value + 1, most + 1):
                wal = put(node.wal, step.start.value, peer.wal[step.start.value : end])
                member = members.after(node.member, Copy(step.start, Lsn(end)))
                yield Lsn(end), self._saved(replace(node, wal=wal), member)
