"""What a majority is known to have flushed, as soon as it could be."""

from __future__ import annotations

from dataclasses import replace

from neon_compose.model.lsn import Lsn
from neon_compose.terms.members import Report
from neon_compose.terms.register import Decided
from tests.model.rules import Rules, Scope
from tests.model.state import Interned, Node, Term, identity, seats

Said = tuple[tuple[int, ...], frozenset[Report]]  # from one seat: when who came to it, and all reports


class Commits:
    def __init__(
        self, scope: Scope, rules: Rules, nodes: Interned[Node], terms: Interned[tuple[Term, ...]]
    ) -> None:
        self.scope = scope
        self.rules = rules
        self._nodes = nodes
        self._terms = terms
        self._said: Interned[Said] = Interned()
        self._reports: dict[int, int] = {}
        self._after_reports: dict[tuple[int, ...], int] = {}
        self._commits: dict[tuple[object, ...], tuple[Lsn | None, bool]] = {}
        self._kept: dict[tuple[int, int], int] = {}

    def settle(self, decided: int, nodes: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The terms with the commit LSNs that all reports come to, and the nodes without what is spent."""
        said = tuple(sorted([self._reported(number) for number in nodes]))
        key = (decided, *said)
        if key not in self._after_reports:
            after = [self._committed(one, said) for one in self._terms[decided]]
            self._after_reports[key] = self._terms.number(tuple(after))
        known = self._after_reports[key]
        if self.scope.losses == 0:
            nodes = tuple([self._without_old_reports(number, known) for number in nodes])
        return known, nodes

    def _without_old_reports(self, number: int, decided: int) -> int:
        """Reports of what is committed make no commit LSN any more. (Where nobody is lost: see `_count`.)"""
        key = (number, decided)
        if key not in self._kept:
            node = self._nodes[number]
            news = {one for one in node.reports if not self._is_old(one, self._terms[decided])}
            self._kept[key] = self._nodes.number(replace(node, reports=frozenset(news)))
        return self._kept[key]

    def _is_old(self, report: Report, decided: tuple[Term, ...]) -> bool:
        commits = [one.commit for one in decided if one.number == report.term]
        return bool(commits) and all(one is not None and report.flushed <= one for one in commits)

    def _reported(self, number: int) -> int:
        """A number for all that was ever reported from a seat."""
        if number not in self._reports:
            node = self._nodes[number]
            self._reports[number] = self._said.number((node.seated, node.reports))
        return self._reports[number]

    def _committed(self, term: Term, said: tuple[int, ...]) -> Term:
        key = (term.history, term.commit, said)
        if key not in self._commits:
            self._commits[key] = self._count(term, [self._said[number] for number in said])
        commit, fell = self._commits[key]
        return term if (commit, fell) == (term.commit, term.fell) else replace(term, commit=commit, fell=fell)

    def _count(self, term: Term, said: list[Said]) -> tuple[Lsn | None, bool]:
        """The commit LSN of `term`, and whether it falls when only those on the seats are asked again."""
        seated = tuple(one for one, _ in said)
        decided = Decided(term.history, seats(seated, term.number))
        reports = [
            replace(one, identity=identity(place, one.identity.int))
            for place, (_, told) in enumerate(said)
            for one in told
        ]
        commit = self.rules.commit_lsn(decided, reports, term.commit)
        present = [one for one in reports if one.identity in seats(seated, self.scope.terms + 1)]
        again = self.rules.commit_lsn(decided, present, commit)
        return commit, commit is not None and (again is None or again < commit)
