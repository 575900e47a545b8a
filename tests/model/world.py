"""Safekeepers, candidates, computes and the network between them, as small as they can be.

The network keeps every message for ever and may deliver any of them at any time, again and again or never: so
loss, delay and repetition need no events of their own. A message whose content follows from what it is about
(a request to promise a claimed term, to adopt a decided one, a stretch of an open compute's WAL) isn't even
stored; answers and reports are. A candidate or compute that is dead is one that does no more steps; all can
stop anywhere, and an old compute goes on for ever. What its reports could acknowledge counts as acknowledged
at once: later would only be less to lose.

WAL is a tuple with one entry per LSN: who wrote it, a compute's number. So whether bytes are the right ones
is seen from the bytes, not from what a history says of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product

from neon_compose.errors import Conflict, NeonError, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms import register as terms
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer
from neon_compose.terms.register import Claim, Decided, Register
from tests.model.checker import Event
from tests.model.commits import Commits
from tests.model.judge import bytes_of, lost
from tests.model.rules import Rules, Scope
from tests.model.safekeeper import Safekeeper
from tests.model.state import Interned, Node, State, Term, Wal, as_the_others, identity, local, said, seats


class Safekeepers:
    """The world that `checker.check` walks through."""

    def __init__(self, scope: Scope, rules: Rules | None = None) -> None:
        self.scope = scope
        self.rules = rules or Rules()
        # A broken rule may be stopped by another one, or by a check; then it hasn't lost anything yet.
        refusals = (Conflict, Unavailable) if rules is None else (NeonError,)
        self._safekeeper = Safekeeper(scope, self.rules, refusals)
        self.names = tuple("ABCDEFG"[: scope.seats])
        self._nodes: Interned[Node] = Interned()
        self._terms: Interned[tuple[Term, ...]] = Interned()
        self._commits = Commits(scope, self.rules, self._nodes, self._terms)
        self._alone: dict[tuple[int, int, int], list[tuple[str, int]]] = {}
        self._copies: dict[tuple[int, int, int], list[tuple[str, int]]] = {}
        self._decided: dict[tuple[object, ...], list[Term]] = {}
        self._complaints: dict[int, str | None] = {}
        self._readings: dict[tuple[int, int], str | None] = {}

    def initial(self) -> State:
        """Term 1 is decided and adopted by all, and its compute is open. Made by the unbroken functions."""
        register = terms.new_register(self.scope.seats)
        found = []
        for seat in range(self.scope.seats):
            register, member = terms.enrol(register, seat, identity(seat, 0), Lsn(0))
            found.append(member)
        register = terms.claim(register)
        found = [members.promise(one, 1) for one in found]
        history = terms.choose(register.claimed, [members.answer(one, Lsn(0)) for one in found])
        assert terms.missing(history, [members.answer(one, Lsn(0)) for one in found]) == ()
        nodes = []
        for one in found:
            while step := members.next_step(one, history):
                one = members.after(one, step)
            nodes.append(said(Node(local(one), local(one)), members.report(local(one))))
        first = Term(history, 10, self._written(10, ()))
        return self._state(1, self._terms.number((first,)), tuple(self._nodes.number(one) for one in nodes))

    def canonical(self, state: State) -> tuple[State, tuple[int, ...]]:
        """All seats are alike: the same nodes on other seats are the same state."""
        places = tuple(sorted(range(len(state.nodes)), key=lambda place: state.nodes[place]))
        return state._replace(nodes=tuple(state.nodes[place] for place in places)), places

    def complaint(self, state: State) -> str | None:
        if state.terms not in self._complaints:
            self._complaints[state.terms] = lost(self._terms[state.terms])
        if found := self._complaints[state.terms]:
            return found
        for number in state.nodes:
            key = (number, state.terms)
            if key not in self._readings:
                self._readings[key] = self._misread(self._nodes[number], self._terms[state.terms])
            if found := self._readings[key]:
                return found
        return None

    def _misread(self, seat: Node, decided: tuple[Term, ...]) -> str | None:
        """What would be read of a member's WAL, for a layer or another layout, and wasn't acknowledged."""
        for one, (_, node, _) in product(decided, seat.alive()):
            if one.commit is None or (
                self._base(node, one) is None and not members.may_receive(node.member, one.number)
            ):
                continue
            whole = node.member.history == one.history
            upto = min(one.commit, node.member.flushed if whole else one.start).value
            if node.wal[:upto] != bytes_of(one)[:upto]:
                return (
                    f"{bytes_of(one)[:upto]} was acknowledged in term {one.number}, "
                    f"a member that has {node.wal} would be read"
                )
        return None

    def terms_of(self, state: State) -> tuple[Term, ...]:
        return self._terms[state.terms]

    def nodes_of(self, state: State) -> list[Node]:
        return [self._nodes[number] for number in state.nodes]

    def remark(self, before: State, after: State) -> str:
        old = {(one.number, one.compute): one.commit for one in self._terms[before.terms]}
        return ", ".join(
            f"term {one.number} acknowledges up to {one.commit}"
            for one in self._terms[after.terms]
            if one.commit is not None and one.commit != old.get((one.number, one.compute))
        )

    def successors(self, state: State) -> Iterator[tuple[Event, State]]:
        yield from self._claims(state)
        for event, after in self._decide(state):
            nodes = state.nodes if self.scope.slow else tuple(self._forget(one) for one in state.nodes)
            yield event, self._state(state.claimed, after, nodes)
        if self.rules.opens_twice:
            yield from self._second_computes(state)
        for place, number in enumerate(state.nodes):
            for text, after in self._changes(number, state.terms, state.claimed):
                yield Event(text, (place,)), self._with(state, place, after)
            for peer, other in enumerate(state.nodes):
                if peer != place or self.scope.alive:
                    for text, after in self._copied(number, other, state.terms):
                        yield Event(text, (place, peer)), self._with(state, place, after)
        yield from self._losses(state)

    # What a candidate does.

    def _claims(self, state: State) -> Iterator[tuple[Event, State]]:
        if state.claimed >= self.scope.terms:
            return
        before = self.register(state)
        claimed = terms.claim(before).claimed
        assert claimed.seats == before.seats
        nodes = state.nodes if self.scope.slow else tuple(self._forget(one) for one in state.nodes)
        yield Event(f"a candidate claims term {claimed.term}"), State(claimed.term, state.terms, nodes)

    def _forget(self, number: int) -> int:
        """Nobody can use the answers any more: the decision was made, or would be refused."""
        node = self._nodes[number]
        return self._nodes.number(replace(node, answers=frozenset())) if node.answers else number

    def _decide(self, state: State) -> Iterator[tuple[Event, int]]:
        """A term is decided, and its compute opens at once from the WAL of any member that may supply it.

        Opening later would only let it do less; that the WAL is the same wherever it is laid out from, also
        later, is what `_misread` looks at.
        """
        nodes = self.nodes_of(state)
        for one in self._decisions(state, nodes):
            bases = {
                wal: (name, place)
                for place, seat in enumerate(nodes)
                for name, node, _ in seat.alive()
                if (wal := self._base(node, one)) is not None
            }
            text = f"term {one.number} is decided: {one.history}"
            for base, (name, place) in bases.items():
                opened = replace(one, wal=self._written(one.compute, base))
                number = self._terms.number((*self._terms[state.terms], opened))
                yield Event(f"{text}; its compute opens from {name}'s WAL", (place,)), number
            if not bases:
                yield Event(text), self._terms.number((*self._terms[state.terms], one))

    def _base(self, node: Node, term: Term) -> Wal | None:
        """What `term` begins after, as a compute is laid out from this member; None if that may not be."""
        start = term.start
        if self.rules.supplies(node.member, term.history) < start or len(node.wal) < start.value:
            return None
        return node.wal[: start.value]

    def _decisions(self, state: State, nodes: list[Node]) -> list[Term]:
        given = [(node.answers, node.seated) for node in nodes]
        if not any(answers for answers, _ in given):
            return []
        key = (state.claimed, state.terms, *given)
        if key not in self._decided:
            first = 2 if self.scope.slow else state.claimed
            histories = {
                history: None
                for term in range(first, state.claimed + 1)
                for history in self._choices(nodes, term)
            }
            found = [self._taken(state, history) for history in histories]
            self._decided[key] = [one for one in found if one is not None]
        return self._decided[key]

    def _choices(self, nodes: list[Node], term: int) -> list[History]:
        """What the candidate of `term` may choose: answers of anybody may have come, one of each."""
        per_identity: list[list[Answer | None]] = []
        for place, node in enumerate(nodes):
            for number in range(len(node.seated)):
                name = identity(place, number)
                given = [one for one in node.answers if (one.term, one.identity.int) == (term, number)]
                per_identity.append([None, *(replace(one, identity=name) for one in given)])
        claimed = Claim(term, seats(tuple([node.seated for node in nodes]), term))
        sets = ([one for one in some if one is not None] for some in product(*per_identity))
        chosen = [
            self._safekeeper.allowed(partial(self.rules.choose, claimed, answers))
            for answers in sets
            if answers
        ]
        return [one for one in chosen if one is not None]

    def _taken(self, state: State, history: History) -> Term | None:
        """The term, if the manifest takes its history."""
        register, decided = self.register(state), self._terms[state.terms]
        after = self._safekeeper.allowed(partial(self.rules.decide, register, history))
        if after is None or after.decided == register.decided:
            return None
        before = sum(one.number == history.last.term for one in decided)
        return Term(history, history.last.term * 10 + before)

    def _second_computes(self, state: State) -> Iterator[tuple[Event, State]]:
        decided = self._terms[state.terms]
        for place, number in enumerate(state.nodes):
            for one in decided:
                base = self._base(self._nodes[number], one)
                if base is not None and sum(two.number == one.number for two in decided) == 1:
                    second = replace(one, compute=one.compute + 1, wal=self._written(one.compute + 1, base))
                    text = f"a second compute opens in term {one.number} from {{}}'s WAL"
                    after = self._terms.number((*decided, second))
                    yield Event(text, (place,)), self._state(state.claimed, after, state.nodes)

    def _written(self, compute: int, base: Wal) -> Wal:
        """All that a compute will ever write: others see any part of it whenever they ask."""
        return base + (compute,) * (self.scope.end - len(base))

    # What a safekeeper does by itself.

    def _changes(self, number: int, decided: int, claimed: int) -> list[tuple[str, int]]:
        key = (number, decided, claimed)
        if key not in self._alone:
            node = self._nodes[number]
            found = self._safekeeper.changes(node, self._terms[decided], claimed)
            self._alone[key] = [
                (text, after) for text, one in found if (after := self._nodes.number(one)) != number
            ]
        return self._alone[key]

    # What takes more than one.

    def _copied(self, number: int, peer: int, decided: int) -> list[tuple[str, int]]:
        key = (number, peer, decided)
        if key not in self._copies:
            found = self._safekeeper.copies(self._nodes[number], self._nodes[peer], self._terms[decided])
            self._copies[key] = [
                (text, after) for text, one in found if (after := self._nodes.number(one)) != number
            ]
        return self._copies[key]

    def _losses(self, state: State) -> Iterator[tuple[Event, State]]:
        nodes = self.nodes_of(state)
        if sum(len(one.seated) - 1 for one in nodes) >= self.scope.losses:
            return
        register = self.register(state)
        for place, node in enumerate(nodes):
            fresh = identity(place, len(node.seated))
            member = local(self.rules.enrol(register, place, fresh, Lsn(0))[1])
            wal: Wal = ()
            if self.rules.asks_others:
                member, wal = as_the_others(member, [*nodes[:place], *nodes[place + 1 :]])
            seated = (*node.seated, state.claimed)
            after = replace(node, member=member, disk=member, wal=wal, unsynced=(0, ()), seated=seated)
            if self.scope.alive:
                after = replace(after, given_up=replace(node, answers=frozenset(), reports=frozenset()))
            text = (
                "{} is given up for lost and replaced"
                if self.scope.alive
                else "{} loses its volume and is replaced"
            )
            yield Event(text, (place,)), self._with(state, place, self._nodes.number(after))

    # How it is put together.

    def register(self, state: State) -> Register:
        """What the manifest says."""
        seated = tuple([node.seated for node in self.nodes_of(state)])
        last = self._terms[state.terms][-1]
        return Register(
            seats(seated, state.claimed + 1),
            Claim(state.claimed, seats(seated, state.claimed)),
            Decided(last.history, seats(seated, last.number)),
        )

    def _with(self, state: State, place: int, number: int) -> State:
        nodes = (*state.nodes[:place], number, *state.nodes[place + 1 :])
        return self._state(state.claimed, state.terms, nodes)

    def _state(self, claimed: int, decided: int, nodes: tuple[int, ...]) -> State:
        return State(claimed, *self._commits.settle(decided, nodes))
