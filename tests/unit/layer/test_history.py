"""Which layers open a moment, against the plainest search there is."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Corrupt, NotFound
from neon_compose.layer.history import Aged, needed, stack_for, stack_of
from neon_compose.layer.index import Kind
from neon_compose.model.lsn import Lsn

IMAGE, DELTA = Kind.IMAGE, Kind.DELTA


def made(*layers: tuple[Kind, int]) -> list[Aged]:
    return [Aged(UUID(int=n), kind, Lsn(lsn)) for n, (kind, lsn) in enumerate(layers, 1)]


def numbers(layers: tuple[UUID, ...] | set[UUID]) -> list[int]:
    return sorted(layer.int for layer in layers)


FOLDED = made((IMAGE, 10), (DELTA, 20), (DELTA, 30), (IMAGE, 30), (DELTA, 40))


@pytest.mark.parametrize(
    ("lsn", "stack"),
    [(10, [1]), (19, [1]), (20, [1, 2]), (29, [1, 2]), (30, [4]), (39, [4]), (40, [4, 5]), (99, [4, 5])],
)
def test_a_moment_opens_from_the_newest_layer_by_then_down_to_an_image(lsn: int, stack: list[int]) -> None:
    assert [layer.int for layer in stack_for(FOLDED, Lsn(lsn))] == stack


def test_a_moment_before_the_oldest_layer_is_gone() -> None:
    with pytest.raises(NotFound, match="no layer is as old as 0/9") as caught:
        stack_for(FOLDED, Lsn(9))
    assert caught.value.code == "moment_gone"
    with pytest.raises(NotFound):
        stack_for([], Lsn(9))


def test_a_delta_without_an_image_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="no image layer below"):
        stack_of(made((DELTA, 10)))


@pytest.mark.parametrize(
    ("moments", "since", "kept"),
    [
        ([], 40, [4, 5]),
        ([], 99, [4, 5]),
        ([], 35, [4, 5]),
        ([], 25, [1, 2, 4, 5]),
        ([15], 40, [1, 4, 5]),
        ([20, 38], 40, [1, 2, 4, 5]),
        ([5], 40, [4, 5]),
        ([], 5, [1, 2, 4, 5]),
    ],
)
def test_what_pins_and_the_window_need_is_kept(moments: list[int], since: int, kept: list[int]) -> None:
    assert numbers(needed(FOLDED, map(Lsn, moments), Lsn(since))) == kept


@st.composite
def histories(draw: st.DrawFn) -> list[Aged]:
    lsn, layers = 1, [(IMAGE, 1)]
    for folds in draw(st.lists(st.booleans(), max_size=12)):
        if folds:
            layers.append((IMAGE, lsn))
        else:
            lsn += draw(st.integers(1, 5))
            layers.append((DELTA, lsn))
    return made(*layers)


@given(histories(), st.lists(st.integers(1, 60), max_size=4), st.integers(1, 60))
def test_with_what_is_needed_alone_the_same_stacks_open_the_same_moments(
    history: list[Aged], moments: list[int], since: int
) -> None:
    kept = needed(history, map(Lsn, moments), Lsn(since))
    left = [one for one in history if one.layer in kept]
    assert stack_of(left) == stack_of(history)
    for lsn in (*moments, *range(since, 70)):
        assert stack_for(left, Lsn(lsn)) == stack_for(history, Lsn(lsn))
