"""One branch in one safekeeper: terms/members.py carried out on its folder, one change at a time.

Owns: the order of what becomes durable and what is done; the branch's receiver. Does not do: deciding about
terms (members.py does), the receiver's life (receiver.py), copying (peers.py).

One lock: who has it may change the state and, while no receiver runs, the folder. The state is one immutable
value, so that looking needs no lock: a promise may kill a receiver that waits for its disk. Under the lock
nobody waits for the network.

Crash argument: what must survive is in the record (record.py) before it is answered; the WAL tells the rest.
A receiver's source is recorded before `receive` returns; `tend` and a restart start it from that alone.
A promise to a later term is recorded together with the end of the receiver.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from neon_compose import log, wait
from neon_compose.errors import Bug, Conflict, Corrupt, NeonError, TimedOut, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper import record as records
from neon_compose.safekeeper.condition import Condition
from neon_compose.safekeeper.flushes import Flushes, Receiving
from neon_compose.safekeeper.peers import Piece, fetch
from neon_compose.safekeeper.record import Record, Source
from neon_compose.safekeeper.standing import Around, Now, Running
from neon_compose.safekeeper.subject import Subject
from neon_compose.safekeeper.wal import Wal
from neon_compose.terms import members
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer, Copy, Cut, Member, Promise, Step
from neon_compose.wait import Deadline
from neon_compose.wire.safekeeper import Peer

_log = log.get(__name__)

_NOTE_S = 5.0  # how often a commit LSN is walked to and recorded: it is a lower bound, only for checks
_NOTICED_S = 0.3
_FAR = Lsn((1 << 64) - 1)


class Keeper:
    """See the module. Every operation may be repeated; none is lost by a kill once it returned."""

    def __init__(self, folder: Path, record: Record, around: Around) -> None:
        self.branch: UUID = record.branch
        self._folder = folder
        self._around = around
        records.sweep(folder, record)
        self._wal = Wal(folder / record.wal, record.timeline, record.segment_size, around.walk)
        self._lock = threading.Lock()
        self._settled = False
        self._closed = False
        self._commit: tuple[int, Lsn] | None = None  # told, and not noted yet
        self._noted_s = -_NOTE_S
        self._now = Now(record, record.member(max(record.oldest, record.committed)))

    @classmethod
    def begun(cls, folder: Path, record: Record, around: Around) -> Keeper:
        """Of a branch that was enrolled just now: its folder is settled."""
        keeper = cls(folder, record, around)
        keeper._wal.begun(record.oldest)
        keeper._settled = True
        return keeper

    # ---- looking

    @property
    def now(self) -> Now:
        return self._now

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to tend to."""
        now = self._now
        runs = now.running is not None or now.record.source is None
        return self._closed or (self._settled and runs and not self._is_note_due())

    def catch_up(self) -> None:
        """Know what a receiver flushed that has ended: it can't be asked any more, the folder says it."""
        running = self._now.running
        if running is None:
            return
        running.flushes.ask()
        receives = running.receiver.state.condition is Condition.RECEIVING
        if receives and not running.flushes.answered:
            with suppress(TimedOut):  # it may be about to notice that its primary is gone
                wait.until(
                    "the receiver's end", lambda: running.receiver.has_ended, Deadline.after(_NOTICED_S)
                )
        if running.receiver.has_ended:
            with self._lock:
                if self._now.running is running:
                    self._halt()
                    self._resume()

    def allocated_bytes(self) -> int:
        return self._wal.allocated_bytes()

    def read(self, start: Lsn, end: Lsn) -> Iterator[bytes]:
        """The bytes [start, end) of the WAL. Raises `Conflict` if they aren't all flushed here."""
        self._check()
        now = self._now
        flushed = now.heard().flushed
        if end > flushed:
            flushed = now.live().flushed
        if not start <= end <= flushed:
            raise Conflict(f"there is no WAL from {start} to {end}, but up to {flushed}", code="wal_behind")
        return self._wal.read(start, end)

    # ---- the term protocol

    def enrol_again(self, wanted: Record) -> None:
        """As `register.enrol` makes it when the claim that made it first was superseded. It has no seat yet,
        and neither promises nor counts for earlier terms than it did."""
        with self._lock:
            self._check()
            member = self._now.member
            if not member.history.starts:
                promised = max(member.promised, wanted.promised)
                counts_from = max(member.counts_from, wanted.counts_from)
                self._become(replace(member, promised=promised, counts_from=counts_from))

    def install(self, wanted: Record, before: bytes) -> None:
        """Hold the history of `wanted` from its end on, unless that is here; see `members.installed`.

        The new WAL is whole under a name of its own before the record names it: a crash leaves the one or
        the other. Nothing is received before somebody asks for it.
        """
        with self._lock:
            self._settle()
            self._halt()
            installed = members.installed(self._now.member, wanted.member(wanted.oldest))
            if installed is None:
                self._resume()
                return
            old = self._now.record
            record = replace(old.with_member(installed), source=None, wal=f"{records.WAL}-{new_id()}")
            records.seed(self._folder, record, before)
            self._wal.close()
            records.write(self._folder, record)
            self._commit, self._settled = None, False
            self._now = Now(record, installed)
            self._wal = Wal(
                self._folder / record.wal, record.timeline, record.segment_size, self._around.walk
            )
            records.sweep(self._folder, record)
            self._settle()
            _log.info("branch %s: what was here gave way to WAL from %s on", self.branch, installed.oldest)

    def promise(self, term: int) -> Answer:
        with self._lock:
            self._settle()
            self._promise(term)
            member = self._now.heard()
            return members.answer(member, self._wal.records_end(member, member.flushed))

    def adopt(self, history: History, peers: Sequence[Peer]) -> None:
        """Step by step; another request may come between two, and `next_step` says what is left then.

        Asked again when the primary no longer has the WAL that comes next, it takes that from the peers.
        """
        while (step := self._advance(history)) is not None:
            piece = self._fetch(history, peers, step)
            with self._lock:
                self._copy(history, piece)
        running = self._now.running
        if running is not None and running.receiver.state.condition is Condition.WAL_GONE:
            self._refill(history, peers)

    def expect(self, source: Source, password: str) -> None:
        """Make ready for `receive`, which may have come before."""
        with self._lock:
            self._may_receive(source)
            if self._now.running is None:
                records.learn_password(self._folder, source.user, password)
                self._made(source).expect()

    def receive(self, source: Source, password: str) -> None:
        """Receive from `source`; have it try again at once, if that is what runs."""
        with self._lock:
            self._may_receive(source)
            is_new = records.learn_password(self._folder, source.user, password)
            running = self._now.running
            if running is None or running.source != source or is_new:
                self._halt()
                self._made(source).start()
            elif self._now.record.source is None:
                running.receiver.start()  # it was expected
            else:
                running.receiver.nudge()
            # It connects meanwhile. Should this fail, or never come to be, it is repeated.
            self._record(replace(self._now.record, source=source))

    def stop_receiving(self) -> None:
        """Recorded first: what is killed by a crash must not come back."""
        with self._lock:
            self._check()
            if self._now.record.source is not None:
                self._record(replace(self._now.record, source=None))
            self._halt()

    def commit(self, term: int, lsn: Lsn) -> None:
        """Take note of a commit LSN, now or some seconds later."""
        with self._lock:
            self._check()
            if not members.may_receive(self._now.member, term):
                return
            before = self._commit
            self._commit = (term, max(lsn, before[1]) if before and before[0] == term else lsn)
            if self._is_note_due():
                self._note_commit()

    def trim(self, needed: Lsn) -> None:
        """Recorded first: a crash leaves WAL that isn't needed, and never claims WAL that is gone."""
        with self._lock:
            self._settle()
            self._note_commit()
            self._become(members.trim(self._now.member, needed))
            self._wal.trim(self._now.member.oldest)

    # ---- without the lock: they take it for each step

    def _advance(self, history: History) -> Copy | None:
        """Take all steps up to one that needs the network, and say which."""
        while True:
            with self._lock:
                self._settle()
                step = members.next_step(self._now.heard(), history)
                if step is None or isinstance(step, Copy):
                    return step
                self._take(step)

    def _fetch(self, history: History, peers: Sequence[Peer], step: Copy) -> Piece:
        size = self._now.record.segment_size
        return fetch(self._around.connect, self.branch, peers, history, step, size)

    def _refill(self, history: History, peers: Sequence[Peer]) -> None:
        """Copy what the peers have of the adopted term, which is WAL of its own compute, and receive on.

        Should this end early, `tend` has the receiver run again.
        """
        copied = False
        while True:
            with self._lock:
                self._halt()
                start = self._now.member.flushed
            try:
                piece = self._fetch(history, peers, Copy(start, _FAR))
            except Unavailable:
                if not copied:
                    raise
                break  # nobody has more
            with self._lock:
                self._halt()
                if members.next_step(self._now.member, history) or self._now.member.flushed != start:
                    break  # another request came between
                self._become(members.receive(self._now.member, history.last.term, start, self._append(piece)))
            copied = True
        with self._lock:
            self._resume()

    # ---- its life

    def tend(self) -> None:
        """Settle the folder and run the recorded receiver, as far as that isn't so: after a start, and again
        when what stood in the way may be gone. Damage stays. Note the commit LSN that was told last."""
        with self._lock:
            if self._closed or isinstance(self._now.trouble, Corrupt):
                return
            try:
                self._settle()
                self._resume()
                if self._is_note_due():
                    self._note_commit()
                self._now = replace(self._now, trouble=None)
            except (NeonError, OSError) as error:
                self._suffer(error)

    def close(self) -> None:
        """End the receiver and let go of the folder; nothing is done any more."""
        with self._lock:
            self._closed = True
            running = self._now.running
            if running is not None:
                running.receiver.stop()
            self._now = replace(self._now, running=None)
            self._wal.close()

    # ---- under the lock

    def _check(self) -> None:
        if self._closed:
            raise Conflict(f"branch {self.branch} is being removed", code="no_branch")
        if not self._settled and self._now.trouble is not None:
            raise self._now.trouble

    def _settle(self) -> None:
        """Have the folder settled and know what is flushed. Raises what stands in the way."""
        if self._closed or isinstance(self._now.trouble, Corrupt):
            self._check()
        if self._settled:
            return
        try:
            self._wal.open()
            self._now = replace(
                self._now, member=replace(self._now.member, flushed=self._wal.settle(self._now.member))
            )
        except (NeonError, OSError) as error:
            self._suffer(error)
            raise
        self._settled = True
        self._now = replace(self._now, trouble=None)

    def _suffer(self, error: NeonError | OSError) -> None:
        before = self._now.trouble
        if str(before) != str(error):
            _log.error("branch %s: %s (%s)", self.branch, error, getattr(error, "detail", ""))
        self._now = replace(self._now, trouble=error)

    def _resume(self) -> None:
        """Run the recorded receiver. Where a damaged tail took away what the term begins with, the next
        `adopt` copies that; until then nothing is received."""
        source = self._now.record.source
        if self._now.running is None and source and members.may_receive(self._now.member, source.term):
            self._made(source).start()

    def _may_receive(self, source: Source) -> None:
        """Or it says why not."""
        self._settle()
        member = self._now.heard()
        members.receive(member, source.term, member.flushed, member.flushed)

    def _promise(self, term: int) -> None:
        """Receivers of older terms are dead before it is recorded: the end that is answered doesn't move."""
        promised = members.promise(self._now.member, term).promised
        if promised == self._now.member.promised:
            return
        self._halt()
        self._note_commit()
        member = members.promise(self._now.member, term)
        self._record(replace(self._now.record.with_member(member), source=None))

    def _take(self, step: Step) -> None:
        """Have `step` done, durably. After a promise no receiver runs: it would be of an older term."""
        if isinstance(step, Promise):
            self._promise(step.term)
            return
        if self._now.running is not None:
            raise Bug(f"branch {self.branch} adopts while it receives")
        if isinstance(step, Cut):
            self._wal.cut(step.at)
        else:
            # What follows the end that is known, be it torn or the rest of a cut record, would be under the
            # new term's feet: a receiver doesn't overwrite it with zeros.
            self._wal.cut(self._now.member.flushed)
        self._become(members.after(self._now.member, step))

    def _copy(self, history: History, piece: Piece) -> None:
        """Append the piece, if that is still what is missing."""
        self._settle()
        step = members.next_step(self._now.member, history)
        if isinstance(step, Copy) and step.start == piece.start:
            end = self._append(piece)
            self._become(members.after(self._now.member, replace(step, end=end)))

    def _append(self, piece: Piece) -> Lsn:
        try:
            return self._wal.extend(self._now.member, piece.data)
        except Corrupt as error:
            raise Corrupt(
                f"the WAL that {piece.host} gave is damaged", detail=error.detail, code="wal_damaged"
            ) from error

    def _halt(self) -> None:
        """Nothing is received on return, and all that was is known. Raises if its receiver can't be killed,
        or if what it left can't be settled: then that is to be done before anything else."""
        running = self._now.running
        if running is None:
            return
        running.receiver.stop()
        self._now = replace(self._now, member=self._now.heard(), running=None)
        self._settled = False
        self._settle()

    def _made(self, source: Source) -> Receiving:
        """A receiver that doesn't run yet: the branch's from now on."""
        member = self._now.member
        receiver = self._around.receiver(
            self._wal.lent(),
            Subject(self.branch, source.term, member.identity),
            source.primary(self._folder),
            self._around.said / f"{self.branch}.said",
        )
        running = Running(source, receiver, Flushes(receiver, member.flushed))
        self._now = replace(self._now, running=running)
        return receiver

    def _is_note_due(self) -> bool:
        return self._commit is not None and wait.monotonic_s() - self._noted_s >= _NOTE_S

    def _note_commit(self) -> None:
        """Record the commit LSN that was told, cut down to a record's end."""
        if self._commit is None:
            return
        term, lsn = self._commit
        member = self._now.heard()
        if members.may_receive(member, term):
            end = self._wal.records_end(member, min(lsn, member.flushed))
            self._become(members.hear_commit(member, term, end))
        self._noted_s, self._commit = wait.monotonic_s(), None

    def _become(self, member: Member) -> None:
        self._record(self._now.record.with_member(member))
        self._now = replace(self._now, member=member)

    def _record(self, record: Record) -> None:
        """Durable, then true."""
        if record != self._now.record:
            records.write(self._folder, record)
        self._now = replace(self._now, record=record, member=record.member(self._now.member.flushed))
