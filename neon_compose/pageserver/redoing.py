"""When branches get new layers: once there is much WAL after a branch's newest layer, or somebody asks.

Owns: one job, or a look for layers that can go (collecting.py), at a time per pageserver, whichever branch
it is of: each job runs a Postgres, and writes. What was asked for goes at once, or right after the job that
runs. What failed is tried again after growing pauses, and meanwhile shown. Damaged WAL is shown and not tried
again by itself: the next try is somebody's, by `now`, or comes with another tip or another pageserver.

A job never touches a compute. Killed at any step it leaves the old tip (growing.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from neon_compose import log, wait
from neon_compose.errors import Corrupt, NeonError, NotFound, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.documents import Manifest
from neon_compose.pageserver.collecting import Collector
from neon_compose.pageserver.growing import Committed, Grown, Growth, Watch

_log = log.get(__name__)

BACKLOG = 64 << 20  # bytes of WAL after a layer that are worth another one
DEEPEST = 8  # layers of a stack
_TURN_S = 3600.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 600.0


class WalToReplay(Protocol):
    """The WAL of branches, as safekeepers have it."""

    def commit_lsn(self, manifest: Manifest) -> Lsn | None:
        """Up to where it is committed, as far as is known without fetching any; None if no safekeeper has
        WAL of the branch."""

    def committed(self, manifest: Manifest) -> Committed:
        """From the redo LSN of the branch's newest layer on. Raises `Unavailable`, `Corrupt`."""


@dataclass(frozen=True)
class Limits:
    backlog: int = BACKLOG
    deepest: int = DEEPEST
    every_s: float = 5.0


@dataclass(frozen=True)
class Standing:
    """How far the layers of a branch are behind its WAL, as last seen."""

    lag_bytes: int | None = None  # None: it has no WAL here
    running: bool = False
    error: str = ""  # of the last try, "" once one succeeds
    rate: float | None = None  # bytes of WAL per second of the last job


@dataclass
class _Branch:
    """What is known of one; changed by who has the turn or the mutex."""

    standing: Standing = field(default_factory=Standing)
    tip: UUID | None = None
    nothing_up_to: Lsn | None = None  # a job found that there is nothing to gain so far
    pause_s: float = 0.0
    not_before_s: float = 0.0


class RedoJobs:
    def __init__(
        self,
        branches: Callable[[], Iterable[Manifest]],
        wal: WalToReplay,
        growth: Growth,
        limits: Limits | None = None,
        collector: Collector | None = None,
    ) -> None:
        self.growth = growth
        self.collector = collector
        self._branches = branches
        self._wal = wal
        self._limits = limits or Limits()
        self._known: dict[UUID, _Branch] = {}
        self._mutex = threading.Lock()  # of the dict and the standings in it
        self._turn = threading.Lock()  # held by the job that runs
        self._ending = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="redo", daemon=True)

    # ---- for others

    def start(self) -> None:
        self._thread.start()

    def stop(self, deadline: wait.Deadline) -> None:
        """No job of the thread's runs on return. Raises `TimedOut`."""
        self._ending.set()
        self._wake.set()
        wait.until("the redo job to end", lambda: not self._thread.is_alive(), deadline)

    def nudge(self) -> None:
        """Look at all branches now."""
        self._wake.set()

    def standing(self, manifest: Manifest) -> Standing:
        with self._mutex:
            found = self._known.get(manifest.branch_id)
            return found.standing if found else Standing()

    def suspect(self, manifest: Manifest) -> None:
        """The branch is about to be deleted: look later whether its layers are anybody else's."""
        if self.collector is not None:
            self.collector.suspect(manifest.layers)

    def history_start(self, manifest: Manifest) -> Lsn | None:
        """From where on every moment of the branch stays open; None if its layers can't be read."""
        if self.collector is None:
            return None
        with suppress(NeonError, OSError):
            return self.collector.history_start(manifest)
        return None

    def layers_in_motion(self) -> list[UUID]:
        """Those that no manifest names yet, or none any more."""
        return self.growth.making() + (self.collector.waiting() if self.collector else [])

    def now(self, manifest: Manifest, read: Callable[[], Manifest], watch: Watch) -> list[Grown]:
        """Replay what there is, however little, and fold what is too deep; the layers that made.

        Waits for its turn; then `read` gives the manifest as it is by then. Raises what `Growth` does, and
        what `watch` raises; what went wrong is also shown.
        """
        known = self._of(manifest)
        turn = self._turn
        wait.until(
            "the running redo job",
            lambda: turn.acquire(blocking=False),
            wait.Deadline.after(_TURN_S),
            alive=watch,
        )
        try:
            return self._work(read(), known, watch)
        finally:
            turn.release()

    # ---- looking

    def _supervise(self) -> None:
        while not self._ending.is_set():
            try:
                self.look()
            except Exception:  # whatever it was, the next look may do better
                _log.exception("could not look for redo jobs")
            self._wake.wait(self._limits.every_s)
            self._wake.clear()

    def look(self) -> None:
        """Run what is due, branch by branch, then remove what nobody needs; nothing of it if a job runs that
        was asked for."""
        found = list(self._branches())
        with self._mutex:
            there = {one.branch_id for one in found}
            self._known = {branch: known for branch, known in self._known.items() if branch in there}
        for manifest in found:
            if self._ending.is_set() or not self._turn.acquire(blocking=False):
                return
            try:
                self._look_at(manifest)
            finally:
                self._turn.release()
        if self.collector is not None and self._turn.acquire(blocking=False):
            try:
                self.collector.collect()
            finally:
                self._turn.release()

    def _look_at(self, manifest: Manifest) -> None:
        known = self._of(manifest)
        if known.tip != manifest.tip:  # a new start for what couldn't be done over another
            known.tip, known.not_before_s = manifest.tip, 0.0
        if wait.monotonic_s() < known.not_before_s:
            with suppress(NeonError):  # how far it lags is shown all the same
                self._is_due(manifest, known)
            return
        try:
            if self._is_due(manifest, known):
                self._work(manifest, known, self._still_wanted)
        except _Ended:
            return
        except Exception as error:  # of whatever kind: it is shown, and never the end of the thread
            self._put_off(manifest, known, error)

    def _is_due(self, manifest: Manifest, known: _Branch) -> bool:
        end = self._wal.commit_lsn(manifest)
        if end is None:
            return False
        tip = self.growth.end(manifest)
        lag = max(0, end.value - tip.value)
        self._show(known, lag_bytes=lag)
        tried = known.nothing_up_to
        if tried is None or tried <= tip:
            return lag >= self._limits.backlog
        return end.value - tried.value >= self._limits.backlog // 4

    def _still_wanted(self) -> None:
        if self._ending.is_set():
            raise _Ended

    # ---- working

    def _work(self, manifest: Manifest, known: _Branch, watch: Watch) -> list[Grown]:
        """Run by who has the turn."""
        called_off = False

        def watching() -> None:
            nonlocal called_off
            called_off = True
            watch()
            called_off = False

        self._show(known, running=True)
        try:
            made = self._grow(manifest, known, watching)
        except NeonError as error:
            if not called_off:
                self._show(known, error=_words(error))
            raise
        finally:
            self._show(known, running=False)
        self._show(known, error="")
        known.pause_s = known.not_before_s = 0.0
        return made

    def _grow(self, manifest: Manifest, known: _Branch, watch: Watch) -> list[Grown]:
        made = []
        wal = self._wal.committed(manifest)
        grown = self.growth.advance(manifest, wal, watch)
        if grown is None:
            known.nothing_up_to = wal.end
            _log.info("redo of %s: no newer checkpoint up to %s", manifest.name, wal.end)
        else:
            made.append(grown)
            manifest = replace(manifest, layers=(*manifest.layers, grown.layer))
            rate = grown.wal_bytes / max(grown.seconds, 1e-6)
            self._show(known, rate=rate, lag_bytes=max(0, wal.end.value - grown.end.value))
            _log.info("redo of %s: up to %s in %.1f s", manifest.name, grown.end, grown.seconds)
        if self.growth.depth(manifest) > self._limits.deepest:
            made.append(self.growth.fold(manifest, watch))
            _log.info("folded the layers of %s", manifest.name)
        return made

    def _put_off(self, manifest: Manifest, known: _Branch, error: Exception) -> None:
        if isinstance(error, NotFound) and error.code == "no_branch":
            return
        known.pause_s = min(max(known.pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        pause_s = float("inf") if isinstance(error, Corrupt) else known.pause_s
        known.not_before_s = wait.monotonic_s() + pause_s
        said = error if isinstance(error, NeonError) else Unavailable(f"{type(error).__name__}: {error}")
        self._show(known, error=_words(said))
        _log.error("redo of %s: %s (%s)", manifest.name, said.message, said.detail)

    def _of(self, manifest: Manifest) -> _Branch:
        with self._mutex:
            return self._known.setdefault(manifest.branch_id, _Branch())

    def _show(self, known: _Branch, **changes: object) -> None:
        with self._mutex:
            known.standing = replace(known.standing, **changes)  # type: ignore[arg-type]


def _words(error: NeonError) -> str:
    return f"{error.message}. {error.detail}".strip()


class _Ended(Exception):
    """The pageserver stops."""
