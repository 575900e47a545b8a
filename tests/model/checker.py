"""A small explicit-state model checker: every state that can be reached, breadth first, none twice.

Breadth first, so a counterexample is among the shortest there are. A world brings states down to one of each
symmetry class (`canonical`) and says which of its places a member went to, so that a trace can call a member
by one name all along.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

S = TypeVar("S")


@dataclass(frozen=True)
class Event:
    """What happened: `text` with a {} for each of the members at `places`."""

    text: str
    places: tuple[int, ...] = ()

    def told(self, names: tuple[str, ...]) -> str:
        return self.text.format(*(names[place] for place in self.places))


class World(Protocol[S]):
    names: tuple[str, ...]

    def initial(self) -> S: ...

    def successors(self, state: S) -> Iterable[tuple[Event, S]]:
        """What can happen next, and to what state it leads."""
        ...

    def canonical(self, state: S) -> tuple[S, tuple[int, ...]]:
        """The state that stands for all that are like it; which old place each of its places shows."""
        ...

    def complaint(self, state: S) -> str | None:
        """What is wrong with this state."""
        ...

    def remark(self, before: S, after: S) -> str:
        """What a reader of a trace should know of this step besides its event; may be empty."""
        ...


@dataclass(frozen=True)
class Counterexample:
    complaint: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        numbered = [f"{n:3}. {step}" for n, step in enumerate(self.steps, 1)]
        return "\n".join([f"counterexample of {len(self.steps)} steps:", *numbered, f"  => {self.complaint}"])


@dataclass(frozen=True)
class Outcome:
    states: int
    counterexample: Counterexample | None


class TooLarge(Exception):
    """More states than the scope was said to have: whether it holds isn't known."""


def check(world: World[S], most_states: int) -> Outcome:
    """Walk through all states of `world`. Raises `TooLarge` beyond `most_states`."""
    first, _ = world.canonical(world.initial())
    came_from: dict[S, S | None] = {first: None}
    layer = [first]
    while layer:
        following = []
        for state in layer:
            if complaint := world.complaint(state):
                return Outcome(len(came_from), _explain(world, came_from, state, complaint))
            for _, raw in world.successors(state):
                after, _ = world.canonical(raw)
                if after not in came_from:
                    came_from[after] = state
                    following.append(after)
        if len(came_from) > most_states:
            raise TooLarge(f"more than {most_states} states")
        layer = following
    return Outcome(len(came_from), None)


def _explain(world: World[S], came_from: dict[S, S | None], state: S, complaint: str) -> Counterexample:
    path = [state]
    while (before := came_from[path[-1]]) is not None:
        path.append(before)
    path.reverse()
    names, steps = world.names, []
    for before, after in pairwise(path):
        event, places = _between(world, before, after)
        remark = world.remark(before, after)
        steps.append(event.told(names) + (f"  [{remark}]" if remark else ""))
        names = tuple(names[place] for place in places)
    return Counterexample(complaint, tuple(steps))


def _between(world: World[S], before: S, after: S) -> tuple[Event, tuple[int, ...]]:
    for event, raw in world.successors(before):
        found, places = world.canonical(raw)
        if found == after:
            return event, places
    raise AssertionError("a state without the step that led to it")
