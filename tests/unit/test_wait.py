from __future__ import annotations

import pytest

from neon_compose.errors import Conflict, TimedOut
from neon_compose.wait import Deadline, until


def test_until_gives_the_first_thing_that_is_neither_none_nor_false() -> None:
    answers = iter([None, False, 0])
    assert until("a number", lambda: next(answers), Deadline.after(5)) == 0


def test_a_passed_deadline_names_the_subject_and_the_last_words() -> None:
    with pytest.raises(TimedOut) as caught:
        until("a miracle", lambda: None, Deadline.after(0.02), last_words=lambda: "still nothing")
    assert "a miracle" in caught.value.message
    assert caught.value.detail == "still nothing"


def test_a_wait_on_something_dead_ends_at_once() -> None:
    def dead() -> None:
        raise Conflict("it is dead")

    with pytest.raises(Conflict):
        until("the dead", lambda: None, Deadline.after(60), alive=dead)
