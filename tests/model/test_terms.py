"""Terms, promises, adoption and the commit LSN under every order of events there is, in small worlds.

The unbroken rules hold in each scope; each rule broken is found out in one of the same scopes. What this
doesn't show: more seats, terms, LSNs and losses than a scope has, trimmed WAL, and records that end in the
middle of what was flushed (tests/unit/terms has both).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from neon_compose.errors import Corrupt
from neon_compose.terms import members
from neon_compose.terms import register as terms
from neon_compose.terms.history import History
from neon_compose.terms.members import Copy, Member
from tests import scale
from tests.model.checker import Counterexample, check
from tests.model.mutants import MUTANTS, UNBROKEN, Mutant
from tests.model.rules import Rules, Scope
from tests.model.state import State
from tests.model.world import Safekeepers

MOST_STATES = scale.amount(100_000, 6_000_000)
SCOPES = sorted({mutant.scope for mutant in MUTANTS}, key=str)
WIDER = [
    Scope(terms=3, end=scale.amount(1, 2), losses=1),
    Scope(terms=2, end=scale.amount(1, 2), losses=2),
    Scope(terms=scale.amount(2, 3), end=1, losses=1, alive=True),
    Scope(terms=scale.amount(2, 3), end=2, losses=scale.amount(1, 0), told=True, crashes=True),
    Scope(terms=3, end=scale.amount(1, 2), slow=True, crashes=True),
    Scope(terms=scale.amount(3, 4), end=scale.amount(1, 2)),
    Scope(terms=scale.amount(2, 5), end=1),
    Scope(terms=3, end=scale.amount(1, 2), seats=4),
    Scope(terms=scale.amount(2, 3), end=1, seats=5),
    Scope(terms=scale.amount(2, 4), end=2, seats=2, losses=1),
    Scope(terms=3, end=2, seats=1),
]


def found_in(scope: Scope, rules: Rules | None = None) -> Counterexample | None:
    outcome = check(Safekeepers(scope, rules), MOST_STATES)
    print(f"{scope}: {outcome.states} states\n{outcome.counterexample or ''}")
    return outcome.counterexample


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_nothing_acknowledged_is_lost_or_different_and_the_commit_lsn_never_falls(scope: Scope) -> None:
    counterexample = found_in(scope)
    assert counterexample is None, f"\n{counterexample}"


@pytest.mark.chaos
@pytest.mark.parametrize("scope", WIDER, ids=str)
def test_the_same_holds_in_wider_worlds(scope: Scope) -> None:
    counterexample = found_in(scope)
    assert counterexample is None, f"\n{counterexample}"


@pytest.mark.parametrize("scope", [Scope(terms=3, end=1), Scope(terms=2, end=1, losses=1)], ids=str)
def test_what_rules_are_broken_with_breaks_nothing_by_itself(scope: Scope) -> None:
    assert found_in(scope, UNBROKEN) is None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.invariant}_{one.name.replace(' ', '_')}")
def test_a_broken_rule_loses_something(mutant: Mutant) -> None:
    counterexample = found_in(mutant.scope, mutant.rules)
    assert counterexample is not None
    assert counterexample.steps


class Seeking(Safekeepers):
    """The unbroken world, in which some state is looked for instead of a fault."""

    def complaint(self, state: State) -> str | None:
        return "reached" if super().complaint(state) is None and self.wanted(state) else None

    def wanted(self, state: State) -> bool:
        raise NotImplementedError


class LastTermCommitsAll(Seeking):
    def wanted(self, state: State) -> bool:
        last = self.terms_of(state)[-1]
        return (
            last.number == self.scope.terms
            and last.commit is not None
            and last.commit.value == self.scope.end
        )


class OlderWalIsGivenUp(Seeking):
    """What a minority had is cut, and the newer term goes on past it."""

    def wanted(self, state: State) -> bool:
        first, last = self.terms_of(state)[0], self.terms_of(state)[-1]
        late = any(
            one.member.flushed > last.start and one.member.history == first.history
            for one in self.nodes_of(state)
        )
        return late and last.number > 1 and last.commit is not None and last.commit > last.start


class ReplacementCarriesOn(Seeking):
    """A replacement came, caught up in a later term and is asked in the one after it."""

    def wanted(self, state: State) -> bool:
        return any(
            len(one.seated) > 1 and answer.identity == one.member.identity and answer.counts
            for one in self.nodes_of(state)
            for answer in one.answers
        )


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        (LastTermCommitsAll, Scope(terms=3, end=2)),
        (OlderWalIsGivenUp, Scope(terms=2, end=1)),
        (ReplacementCarriesOn, Scope(terms=3, end=1, losses=1)),
    ],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)
def test_the_world_gets_somewhere(kind: type[Seeking], scope: Scope) -> None:
    outcome = check(kind(scope), MOST_STATES)
    assert outcome.counterexample is not None
    print(outcome.counterexample)


class NeverStuck(Safekeepers):
    """The unbroken world, in which every state must be one that a new term leads out of."""

    def complaint(self, state: State) -> str | None:
        return super().complaint(state) or self._what_sticks(state)

    def _what_sticks(self, state: State) -> str | None:
        """None if all seats adopt a new term, or if fewer count than that takes."""
        register = terms.claim(self.register(state))
        found = [
            members.promise(replace(node.disk, identity=identity), register.claimed.term)
            for node, identity in zip(self.nodes_of(state), register.seats, strict=True)
            if identity is not None
        ]
        answers = [members.answer(one, one.flushed) for one in found]
        if sum(one.counts for one in answers) < terms.majority(register.seats):
            return None
        history = terms.choose(register.claimed, answers)
        decided = terms.decide(register, history).decided
        if any(one.source is None for one in terms.missing(history, answers)):
            return f"nobody has what {history} begins after"
        after = [adopted(one, history, found) for one in found]
        if not all(one.counts for one in after):
            return "somebody adopted a new term and doesn't count"
        reports = [report for one in after if (report := members.report(one))]
        commit = terms.commit_lsn(decided, reports)
        return None if commit == history.last.start else f"{commit} is committed when all adopted {history}"


def adopted(one: Member, history: History, peers: list[Member]) -> Member:
    """After all steps; what it lacks is copied from who supplies most."""
    most = max(members.supplies(peer, history) for peer in peers)
    assert most >= history.last.start
    while step := members.next_step(one, history):
        one = members.after(one, Copy(step.start, min(step.end, most)) if isinstance(step, Copy) else step)
    return one


@pytest.mark.parametrize(
    "scope",
    [Scope(terms=3, end=1), Scope(terms=2, end=2, losses=1), Scope(terms=2, end=2, told=True)],
    ids=str,
)
def test_a_new_term_leads_out_of_every_state_and_then_all_seats_count(scope: Scope) -> None:
    outcome = check(NeverStuck(scope), MOST_STATES)
    assert outcome.counterexample is None, f"\n{outcome.counterexample}"


def test_a_commit_lsn_noted_by_who_has_not_adopted_its_term_would_stop_it_for_good() -> None:
    rules = Rules(
        hear_commit=lambda member, _, commit: replace(member, committed=min(commit, member.flushed))
    )
    with pytest.raises(Corrupt, match="would cut committed WAL"):
        check(NeverStuck(Scope(terms=2, end=2, told=True), rules), MOST_STATES)


def test_a_counterexample_tells_a_member_by_one_name_all_along() -> None:
    counterexample = found_in(Scope(terms=1, end=1), Rules(opens_twice=True))
    assert str(counterexample).splitlines()[0] == "counterexample of 3 steps:"
    assert "second compute" in str(counterexample)
