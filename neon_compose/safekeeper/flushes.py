"""How far a receiver has flushed, for many who ask, none of whom waits long for a primary that is frozen."""

from __future__ import annotations

import threading
from typing import Protocol

from neon_compose import wait
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.condition import State

_PATIENCE_S = 0.5


class Receiving(Protocol):
    """A receiver of one branch and term (receiver.py)."""

    @property
    def state(self) -> State: ...

    @property
    def has_ended(self) -> bool:
        """Whether it received and doesn't now: what it synced last was heard by nobody."""

    def expect(self) -> None:
        """Make ready to receive, and wait for `start`; until then the folder is only looked at."""

    def start(self) -> None:
        """Begin; the folder is settled, and nobody but the receiver changes it until `stop` returns."""

    def nudge(self) -> None:
        """Try again now."""

    def stop(self) -> None:
        """Nothing of it runs on return; raises `Unavailable` if it can't be killed."""

    def flushed(self) -> Lsn | None:
        """Up to where WAL is synced here; None while nothing is received. May wait for the primary."""


class Flushes:
    """What was heard of one receiver. A question that is under way answers all who wait for it."""

    def __init__(self, receiver: Receiving, least: Lsn) -> None:
        self._receiver = receiver
        self._mutex = threading.Lock()
        self._asked: threading.Event | None = None
        self._highest = least  # flushed before it began
        self._answered = False

    @property
    def highest(self) -> Lsn:
        """What it was heard to have flushed: it stays so when the receiver or its primary is gone."""
        return self._highest

    @property
    def answered(self) -> bool:
        """Whether the last question was: else it receives nothing, or its primary is frozen or gone."""
        return self._answered

    def ask(self, patience_s: float = _PATIENCE_S) -> Lsn:
        """What is flushed by now; what was heard last, if the primary doesn't answer in time."""
        deadline = wait.Deadline.after(patience_s)
        joined, is_new = self._question()
        joined.wait(deadline.left_s)
        if not is_new and joined.is_set():  # asked before us: its answer may be older than our question
            self._question()[0].wait(deadline.left_s)
        return self._highest

    def _question(self) -> tuple[threading.Event, bool]:
        """One that is under way, or a new one."""
        with self._mutex:
            if self._asked is not None and not self._asked.is_set():
                return self._asked, False
            self._asked = asked = threading.Event()
        threading.Thread(target=self._hear, args=(asked,), daemon=True).start()
        return asked, True

    def _hear(self, asked: threading.Event) -> None:
        try:
            flushed = self._receiver.flushed()
            with self._mutex:
                self._answered = flushed is not None
                self._highest = max(self._highest, flushed or self._highest)
        finally:
            asked.set()
