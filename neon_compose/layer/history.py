"""The layers of a branch over time: which of them open a moment. Pure.

A manifest lists all layers its branch still has, from the oldest on: an image, deltas over it, now and then
an image again that says the same as what lies below it, so that a stack doesn't grow for ever. What opens a
moment is a *stack*: the newest layer that is consistent by then, and what it needs, down to the next image.
A list need not be whole (old layers go when nothing needs them), but whatever is in it has what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from neon_compose.errors import Corrupt, NotFound
from neon_compose.layer.index import Kind
from neon_compose.model.lsn import Lsn


class Aged(NamedTuple):
    """A layer, and the earliest moment it opens."""

    layer: UUID
    kind: Kind
    consistent: Lsn


def stack_for(history: Sequence[Aged], lsn: Lsn) -> tuple[UUID, ...]:
    """The layers that open the moment `lsn`, bottom to top: the fewest that need the least WAL.

    Raises `NotFound` code "moment_gone" if no layer is as old as that.
    """
    newest = max((n for n, one in enumerate(history) if one.consistent <= lsn), default=None)
    if newest is None:
        oldest = f"The oldest begins at {history[0].consistent}." if history else "There is none."
        raise NotFound(f"no layer is as old as {lsn}", detail=oldest, code="moment_gone")
    return stack_of(history[: newest + 1])


def stack_of(history: Sequence[Aged]) -> tuple[UUID, ...]:
    """The newest layer and what it needs, bottom to top."""
    for at in range(len(history) - 1, -1, -1):
        if history[at].kind is Kind.IMAGE:
            return tuple(one.layer for one in history[at:])
    raise Corrupt(f"layer {history[-1].layer} has no image layer below it")


def needed(history: Sequence[Aged], moments: Iterable[Lsn], since: Lsn) -> set[UUID]:
    """The layers of `history` that open each of `moments`, every moment from `since` on, and the newest.

    A moment before the oldest layer is no reason to keep any: it can't be opened any more.
    """
    if not history:
        return set()
    wanted = {one for one in moments if one >= history[0].consistent}
    wanted |= {max(since, history[0].consistent)}
    wanted |= {one.consistent for one in history if one.consistent >= since}
    kept = {layer for moment in wanted for layer in stack_for(history, moment)}
    return kept | set(stack_of(history))
