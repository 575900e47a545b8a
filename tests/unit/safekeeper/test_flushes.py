"""Asking a receiver how far it is, with a primary that may be frozen."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from neon_compose import wait
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.condition import Condition, State
from neon_compose.safekeeper.flushes import Flushes


@dataclass
class Slow:
    """Answers when it is let; counts the questions."""

    end: Lsn | None = field(default_factory=lambda: Lsn(100))
    let: threading.Event = field(default_factory=threading.Event)
    asked: int = 0
    state: State = field(default_factory=lambda: State(Condition.RECEIVING))

    def start(self) -> None: ...

    def expect(self) -> None: ...
    def nudge(self) -> None: ...

    def stop(self) -> None: ...

    def flushed(self) -> Lsn | None:
        self.asked += 1
        end = self.end
        self.let.wait(10)
        return end


def test_a_frozen_primary_is_not_waited_for_and_asked_once_only() -> None:
    slow = Slow()
    flushes = Flushes(slow, Lsn(7))
    began_s = wait.monotonic_s()
    assert [flushes.ask(0.05) for _ in range(3)] == [Lsn(7)] * 3
    assert wait.monotonic_s() - began_s < 2
    assert slow.asked == 1
    slow.let.set()
    assert flushes.ask(5) == Lsn(100)


def test_what_was_heard_outlives_the_receiver_and_never_goes_back() -> None:
    receiver = Slow()
    receiver.let.set()
    flushes = Flushes(receiver, Lsn(7))
    assert flushes.ask() == Lsn(100)
    for end in (Lsn(50), None):
        receiver.end = end
        assert flushes.ask() == Lsn(100)
    assert flushes.highest == Lsn(100)


def test_an_answer_is_not_older_than_its_question() -> None:
    """Who comes while a question is under way waits for one that began after it came."""
    slow = Slow()
    flushes = Flushes(slow, Lsn(7))
    first = threading.Thread(target=flushes.ask, args=(5,))
    first.start()
    wait.until("the first question", lambda: slow.asked == 1, wait.Deadline.after(5))
    slow.end = Lsn(200)  # flushed after the first question read 100
    later: list[Lsn] = []
    second = threading.Thread(target=lambda: later.append(flushes.ask(5)))
    second.start()
    slow.let.set()
    first.join(10)
    second.join(10)
    assert later == [Lsn(200)]
