"""The branches of one safekeeper: enrolling, finding, removing, telling how they stand.

Owns: which keepers there are, and tending to those that a crash or a full disk stopped. Does not do: anything
about one branch (keeper.py).
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from neon_compose import log
from neon_compose.errors import (
    Conflict,
    Invalid,
    NeonError,
    NotFound,
    as_problem,
)
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper import record as records
from neon_compose.safekeeper.condition import Condition, State, state_after
from neon_compose.safekeeper.keeper import Keeper
from neon_compose.safekeeper.record import Record
from neon_compose.safekeeper.standing import Around, Now
from neon_compose.safekeeper.volume import Volume
from neon_compose.terms.members import Member
from neon_compose.wire.safekeeper import (
    BranchStatus,
    EnrolQuery,
    SafekeeperStatus,
    history_of,
    starts_of,
)

_log = log.get(__name__)

_TEND_S = 1.0
_TENDERS = 4  # each holds a segment or two in memory
_LOOKERS = 16  # each may wait for a primary that is frozen


class Service:
    """See the module. `start` comes first, `close` last."""

    def __init__(self, volume: Volume, around: Around) -> None:
        self._volume = volume
        self._around = around
        self._keepers: dict[UUID, Keeper] = {}
        self._damaged: dict[UUID, NeonError] = {}  # those whose record can't be read
        self._changing = threading.Lock()  # which keepers there are
        self._over = threading.Event()
        self._tenders = ThreadPoolExecutor(_TENDERS, "tending")
        self._lookers = ThreadPoolExecutor(_LOOKERS, "looking")
        self._tending = threading.Thread(target=self._tend_on, name="tending", daemon=True)

    def start(self) -> None:
        """Resume what was received, for all branches of the volume."""
        for branch in self._volume.branches():
            folder = self._volume.folder(branch)
            try:
                found = records.read(folder, branch, self._volume.identity)
            except NeonError as error:
                _log.error("branch %s: %s (%s)", branch, error.message, error.detail)
                self._damaged[branch] = error
            else:
                self._keepers[branch] = Keeper(folder, found, self._around)
        self._tend()
        self._tending.start()
        _log.info("safekeeper %s keeps %d branches", self._volume.identity, len(self._keepers))

    def close(self) -> None:
        """End all receivers, and let go of the volume."""
        self._over.set()
        list(self._lookers.map(_close, self._keepers.values()))
        for pool in (self._tenders, self._lookers):
            pool.shutdown()
        self._volume.close()

    # ---- looking

    def find(self, branch: UUID) -> Keeper:
        """Raises `NotFound` code "no_branch", or what is wrong with its record."""
        if branch in self._damaged:
            raise self._damaged[branch]
        keeper = self._keepers.get(branch)
        if keeper is None:
            raise NotFound(f"branch {branch} is not kept here", code="no_branch")
        return keeper

    def status(self) -> SafekeeperStatus:
        with self._changing:
            keepers, damaged = list(self._keepers.values()), dict(self._damaged)
        found = list(self._lookers.map(branch_status, keepers))
        found += [self._damaged_status(branch, error) for branch, error in damaged.items()]
        return SafekeeperStatus(
            identity=str(self._volume.identity), branches=found, free_bytes=self._volume.free_bytes()
        )

    # ---- changing which there are

    def enrol(self, branch: UUID, query: EnrolQuery, before: bytes) -> Keeper:
        """Keep `branch` from `query.oldest` on, durably. Repeat is success; raises `Conflict` code
        "enrolled_otherwise" if it is kept in another way, "other_identity" if another was meant."""
        if query.identity != str(self._volume.identity):
            raise Conflict(
                f"this safekeeper is {self._volume.identity}",
                detail=f"Safekeeper {query.identity} was asked for; its volume is gone or elsewhere.",
                code="other_identity",
            )
        wanted = _record(branch, query)
        if len(before) != wanted.oldest.value % wanted.segment_size:
            raise Invalid(f"{len(before)} bytes are not the segment's WAL up to {wanted.oldest}")
        with self._changing:
            if branch in self._damaged or branch in self._keepers:
                keeper = self.find(branch)
                _refuse_other(keeper.now.record, wanted)
                if wanted.history:
                    keeper.install(wanted, before)
                keeper.enrol_again(wanted)
                return keeper
            self._volume.make(branch, lambda folder: _fill(folder, wanted, before))
            keeper = Keeper.begun(self._volume.folder(branch), wanted, self._around)
            self._keepers[branch] = keeper
            return keeper

    def delete(self, branch: UUID) -> None:
        """All of it is gone on return; repeat is success."""
        with self._changing:
            if branch in self._keepers:
                self._keepers[branch].close()
            self._volume.remove(branch)
            self._keepers.pop(branch, None)
            self._damaged.pop(branch, None)

    # ---- tending

    def _tend_on(self) -> None:
        while not self._over.wait(_TEND_S):
            try:
                self._tend()
            except RuntimeError:  # the pool was shut down
                return

    def _tend(self) -> None:
        with self._changing:
            waiting = [keeper for keeper in self._keepers.values() if not keeper.is_at_rest]
        list(self._tenders.map(Keeper.tend, waiting))

    def _damaged_status(self, branch: UUID, error: NeonError) -> BranchStatus:
        return BranchStatus(
            branch_id=str(branch),
            identity=str(self._volume.identity),
            promised=0,
            term=0,
            history=[],
            oldest="0/0",
            flushed="0/0",
            committed="0/0",
            counts=False,
            receiver=Condition.FAILED.value,
            trouble=as_problem(error),
        )


def branch_status(keeper: Keeper) -> BranchStatus:
    """How it stands by now; asks its receiver, or looks what that left."""
    with suppress(NeonError, OSError):  # it is in the keeper's trouble
        keeper.catch_up()
    now = keeper.now
    member = now.heard()
    condition, trouble = _condition(now)
    return BranchStatus(
        branch_id=str(keeper.branch),
        identity=str(member.identity),
        promised=member.promised,
        term=member.history.last.term,
        history=starts_of(member.history),
        oldest=str(member.oldest),
        flushed=str(member.flushed),
        committed=str(member.committed),
        counts=member.counts,
        receiver=condition.value,
        trouble=as_problem(trouble) if trouble else None,
        wal_bytes=keeper.allocated_bytes(),
    )


def _condition(now: Now) -> tuple[Condition, NeonError | None]:
    """What its receiver does, and what is wrong with that or else with the branch."""
    ours = state_after(now.trouble) if now.trouble else State(Condition.STOPPED)
    if now.running is None:
        return ours.condition, ours.trouble
    state = now.running.receiver.state
    return state.condition, state.trouble or ours.trouble


def _record(branch: UUID, query: EnrolQuery) -> Record:
    oldest = Lsn.parse(query.oldest)
    history = history_of(query.starts())
    member = Member(
        UUID(query.identity), query.promised, history, oldest, oldest, counts_from=query.counts_from
    )
    return Record.of(branch, member, query.timeline, query.segment_size)


def _fill(folder: Path, record: Record, before: bytes) -> None:
    records.seed(folder, record, before)
    records.write(folder, record)  # this makes the name of the WAL's folder durable too


def _refuse_other(there: Record, wanted: Record) -> None:
    """A repeat finds what it made, or what has become of it: WAL, a history, a later begin. One that had no
    term yet may be wanted by a later claim than the one that made it."""
    names = ["timeline", "segment_size"]
    if not wanted.history:  # else it gives way, if it is otherwise
        names.append("counts_from" if there.history else "oldest")
    differs = [
        f"{name} {getattr(there, name)}, not {getattr(wanted, name)}"
        for name in names
        if getattr(there, name) != getattr(wanted, name)
    ]
    if differs:
        raise Conflict(
            f"branch {there.branch} is kept here otherwise",
            detail=f"It has {'; '.join(differs)}.",
            hint="Remove it here first, if its seat isn't this safekeeper's yet.",
            code="enrolled_otherwise",
        )


def _close(keeper: Keeper) -> None:
    try:
        keeper.close()
    except NeonError as error:
        _log.error("branch %s: %s (%s)", keeper.branch, error.message, error.detail)
