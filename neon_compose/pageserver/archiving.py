"""Committed WAL goes to the archive; a branch whose compute has ended is sealed there.

Owns the thread. `hear` tells what is committed, as tending sees it. Whole segments are archived as they fill
up. The rest of the last one is, once nothing more has come for a while: an idle branch is in the archive up
to its last commit.

Sealing says in the manifest that the storage alone has all that anybody was told is committed. So safekeepers
whose volumes are gone (`down -v`), or are in another stack, or are more or fewer than before, are no loss
(quorum.claim). Why it is true when it is said:
- No server runs on the pg's data, none is about to be started, and the manifest is written under the pg's
  lock. A start takes the seal back before a server runs (primaries).
- After that, safekeepers are asked once more. Their receivers have ended, so they know all that came; commits
  wait for a majority (`durable`), the k that flushed most have flushed the same, and that is archived: there
  is nothing that an answer of others could add.
- One that is started past us, by `docker start`, is noticed by its WAL within seconds, and the seal is taken
  back then. Until that, its commits are as safe as its safekeepers are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from uuid import UUID

from neon_compose import log, wait
from neon_compose.errors import NeonError, TimedOut
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, Sealed, Writer
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.quorum import Quorum
from neon_compose.pageserver.seeds import Seeds
from neon_compose.pageserver.wal import BranchWal, Committed

_log = log.get(__name__)

_REST_S = 10.0  # without a commit, then the begun segment is archived
_RETRY_S = 15.0
_LAST_S = 40.0  # of those that a stack's stop gives
_SETTLE_S = 5.0  # for receivers to notice that their primary has ended
_STRIDE = 64 << 20  # bytes of WAL that are fetched at once

Resting = Callable[[Writer | None], AbstractContextManager[bool]]  # Computes.resting


@dataclass(frozen=True)
class Heard:
    """What is committed of a branch."""

    commit: Lsn
    since_s: float  # it was first heard of


class Archiving:
    """`look` and `finish` are called by one thread at a time."""

    def __init__(
        self, store: ObjectStore, quorum: Quorum, wal: BranchWal, seeds: Seeds, resting: Resting
    ) -> None:
        self._store = store
        self._quorum = quorum
        self._wal = wal
        self._seeds = seeds
        self._archive = seeds.archive
        self._resting = resting
        self._mutex = threading.Lock()
        self._heard: dict[UUID, Heard] = {}
        self._done: dict[UUID, Lsn] = {}  # commit LSNs up to which all is archived
        self._not_before_s: dict[UUID, float] = {}
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="archiving", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._wake.set()

    def hear(self, branch_id: UUID, commit: Lsn) -> None:
        with self._mutex:
            before = self._heard.get(branch_id)
            rests = before is not None and before.commit == commit
            since_s = before.since_s if before and rests else wait.monotonic_s()
            self._heard[branch_id] = Heard(commit, since_s)
        self._wake.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.wait()
            self._wake.clear()
            if not self._ended.is_set():
                self.look()

    def finish(self) -> None:
        """For the last time: archive all, seal what rests, as far as there is time."""
        deadline = wait.Deadline.after(_LAST_S)
        with suppress(TimedOut):
            wait.until("WAL to be archived", lambda: self.look(0.0, deadline), wait.Deadline.after(_SETTLE_S))

    def look(self, rest_s: float = _REST_S, deadline: wait.Deadline | None = None) -> bool:
        """Archive what has come since, seal what rests; with a deadline, for the last time. Whether that is
        all that can be done by now."""
        done = True
        with self._turn:
            with self._mutex:
                heard = dict(self._heard)
            for branch_id, one in heard.items():
                if deadline is not None and deadline.passed:
                    _log.warning("not all WAL was archived before the end")
                    return True
                if deadline is None and self._not_before_s.get(branch_id, 0.0) > wait.monotonic_s():
                    continue
                try:
                    manifest = manifests.read_manifest(self._store, branch_id)
                    done = self._look_at(manifest, one, rest_s) and done
                except NeonError as error:
                    self._put_off(branch_id, error)
        return done

    def _look_at(self, manifest: Manifest, heard: Heard, rest_s: float) -> bool:
        """False if it is to be sealed, and safekeepers don't know yet what is the end."""
        if manifest.deleted:
            with self._mutex:
                self._heard.pop(manifest.branch_id, None)
            return True
        rests_at = manifest.rests_at
        if rests_at is not None:
            if heard.commit > rests_at and self._done.get(manifest.branch_id) != heard.commit:
                self._unseal(manifest, rests_at, heard.commit)
            return True
        rests = wait.monotonic_s() - heard.since_s >= rest_s
        self._wal.forget(manifest, self._seeds.needed(manifest))
        end = self._archived(manifest, heard.commit, all_of_it=rests)
        if not rests or end is None or not manifest.durable:
            return True
        return self._seal(manifest, heard.commit, end)

    def _archived(self, manifest: Manifest, commit: Lsn, *, all_of_it: bool) -> Lsn | None:
        """Archive up to `commit`, or the last whole segment before it; up to where, if all of it is."""
        at, size = self._seeds.archived(manifest), self._wal.segment_size(manifest)
        if self._done.get(manifest.branch_id) == commit:
            return at
        goal = commit if all_of_it else Lsn(commit.value - commit.value % size)
        while at < goal:
            end = min(goal, Lsn(at.value - at.value % size + _STRIDE))
            found = self._wal.upto(self._wal.over(manifest, at), end)
            before = at
            at = self._put(manifest, found, at, all_of_it=all_of_it and end == goal)
            if at == before:
                break  # a record goes on past `goal`, or there is no whole one
        if not all_of_it:
            return None
        self._done[manifest.branch_id] = commit
        return at

    def _put(self, manifest: Manifest, found: Committed, begin: Lsn, *, all_of_it: bool) -> Lsn:
        folder, end, at = found.folder, found.end, begin
        for number in range(folder.number(begin), folder.number(end) + 1):
            stop = min(folder.begin(number + 1), end)
            if stop > at and (all_of_it or stop == folder.begin(number + 1)):
                self._archive.put(manifest, folder, number, stop)
                at = stop
        return at

    def _seal(self, manifest: Manifest, commit: Lsn, end: Lsn) -> bool:
        """False if it doesn't run, and `commit` isn't known to be the end."""
        assert manifest.register is not None
        sealed = Sealed(manifest.register.decided.history.last.term, end)

        def change(found: Manifest) -> Manifest:
            same = (found.register, found.writer, found.durable) == (manifest.register, manifest.writer, True)
            return replace(found, sealed=sealed) if same else found

        with self._resting(manifest.writer) as rests:
            if not rests:
                return True
            settled = self._quorum.settled(manifest)
            if settled == commit:
                manifests.update_manifest(self._store, manifest.branch_id, change)
                _log.info("branch %s is sealed at %s", manifest.name, end)
                return True
        if settled is not None:
            self.hear(manifest.branch_id, settled)
        return False

    def _unseal(self, manifest: Manifest, rests_at: Lsn, commit: Lsn) -> None:
        if self._wal.upto(manifest, commit).end <= rests_at:  # no record, as it was sealed
            self._done[manifest.branch_id] = commit
            return
        manifests.update_manifest(
            self._store,
            manifest.branch_id,
            lambda found: replace(found, sealed=None) if found.sealed == manifest.sealed else found,
        )
        _log.warning("branch %s was sealed, and is written to", manifest.name)

    def _put_off(self, branch_id: UUID, error: NeonError) -> None:
        self._not_before_s[branch_id] = wait.monotonic_s() + _RETRY_S
        if error.code == "no_branch":
            with self._mutex:
                self._heard.pop(branch_id, None)
            return
        _log.error("the WAL of branch %s is not archived: %s (%s)", branch_id, error.message, error.detail)
