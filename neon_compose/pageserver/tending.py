"""Beside all requests: safekeepers hear what is committed and deleted, and come back into terms.

Owns the thread and its period. A safekeeper goes on by itself after a restart; one that was away as a term
began, or lost its volume, doesn't know of it. Here it adopts the decided term from its peers and receives. A
replacement takes no part before the next term (register, invariant 14), so it isn't looked at.

The commit LSN that members hear is what later makes damage detectable: WAL that ends before it was cut off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

from neon_compose import log
from neon_compose.errors import NeonError
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.archiving import Archiving
from neon_compose.pageserver.quorum import Quorum, log_of
from neon_compose.pageserver.seeds import Seeds
from neon_compose.terms import register as terms
from neon_compose.terms.register import Decided
from neon_compose.wire.safekeeper import BranchStatus, ReceiverRequest

_log = log.get(__name__)
_PERIOD_S = 5.0
_STOPPED = "stopped"
_WAL_GONE = "wal gone"  # the primary no longer has what comes next; the others do

Receiving = Callable[[Manifest], ReceiverRequest | None]  # how to receive from the branch's open primary
Seen = dict[str, BranchStatus]  # by host


class Tending:
    def __init__(
        self, store: ObjectStore, quorum: Quorum, receiving: Receiving, seeds: Seeds, archiving: Archiving
    ) -> None:
        self._store = store
        self._quorum = quorum
        self._receiving = receiving
        self._seeds = seeds
        self._archiving = archiving
        self._ended = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tending", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._wake.set()

    def soon(self) -> None:
        """There is something to do."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(_PERIOD_S)
            self._wake.clear()
            if self._ended.is_set():
                return
            self.tend_once_more()

    def tend_once_more(self) -> None:
        """`tend_all`, come what may."""
        try:
            self.tend_all()
        except NeonError as error:
            _log.warning("safekeepers are not tended: %s (%s)", error.message, error.detail)

    def tend_all(self) -> None:
        """Once over all branches that have a decided term. One call per safekeeper, if all is well."""
        seen = self._quorum.all_statuses()
        branches = manifests.list_branches(self._store)  # after what was seen: a newer term shows as a seat
        self._forget(seen, {one.branch_id for one in branches})
        for manifest in filter(_stands, branches):
            found = {host: of[manifest.branch_id] for host, of in seen.items() if manifest.branch_id in of}
            try:
                self._tend(manifest, found)
            except NeonError as error:
                _log.warning("%s is not tended: %s (%s)", manifest.name, error.message, error.detail)

    def _forget(self, seen: dict[str, dict[UUID, BranchStatus]], known: set[UUID]) -> None:
        """WAL of branches that are gone goes too, and of deleted ones nobody looks for the primary. Only what
        a manifest or tombstone of this storage names: other storages have WAL on the same safekeepers."""
        others = {branch_id for of in seen.values() for branch_id in of} - known
        if not others:
            return
        for branch_id in others & manifests.dead_branches(self._store):
            self._quorum.forget(branch_id)
        kept = {one.branch_id for one in manifests.deleted_branches(self._store) if one.kept is not None}
        for branch_id in others & kept:
            hosts = [host for host, of in seen.items() if branch_id in of and _looks(of[branch_id])]
            if hosts:
                self._quorum.stop_receiving(branch_id, hosts)

    def _tend(self, manifest: Manifest, seen: Seen) -> None:
        assert manifest.register is not None
        decided = manifest.register.decided
        term = decided.history.last.term
        request = self._receiving(manifest)
        self._trim(manifest, seen)
        for host, status in seen.items():
            if UUID(status.identity) not in decided.seats or status.promised > term:
                continue
            if self._is_left_behind(decided, status, seen):
                self._quorum.install(manifest, host, self._seeds.to_go_on(manifest), status)
            # The term, or WAL before it: a copy may have been cut off.
            lacks = status.term < term or status.report() is None
            if lacks or status.receiver == _WAL_GONE:
                self._quorum.rejoin(manifest, host, seen)
            if request is not None and (lacks or not _looks(status)):
                self._quorum.receive(manifest, request, [host])
        reports = [one.report() for one in seen.values()]
        commit = terms.commit_lsn(decided, [one for one in reports if one])
        if commit is not None:
            self._archiving.hear(manifest.branch_id, commit)
            hosts = [host for host, one in seen.items() if Lsn.parse(one.committed) < commit]
            self._quorum.tell(manifest, term, commit, hosts)

    def _trim(self, manifest: Manifest, seen: Seen) -> None:
        """What is archived and covered by a layer goes, by whole segments."""
        needed = self._seeds.needed(manifest)
        size = self._seeds.wal.segment_size(manifest)
        hosts = [
            host
            for host, one in seen.items()
            if Lsn.parse(one.oldest).value // size < min(needed, Lsn.parse(one.committed)).value // size
        ]
        if hosts:
            self._quorum.trim(manifest.branch_id, needed, hosts)

    def _is_left_behind(self, decided: Decided, status: BranchStatus, seen: Seen) -> bool:
        """Whether what a member lacks is trimmed on all others."""
        others = [one for one in seen.values() if one is not status and UUID(one.identity) in decided.seats]
        has = log_of(status).shared_with(decided.history)
        return bool(others) and has < min(Lsn.parse(one.oldest) for one in others)


def _looks(status: BranchStatus) -> bool:
    return status.receiver != _STOPPED


def _stands(manifest: Manifest) -> bool:
    """Whether the last term that was claimed is decided; else a start is under way, or there is no term."""
    register = manifest.register
    return register is not None and register.claimed.term == register.decided.history.last.term
