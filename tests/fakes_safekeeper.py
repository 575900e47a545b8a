"""An in-memory stand-in for safekeepers, with the client's methods and the real one's contract.

    keepers = FakeSafekeepers(3)
    keepers["safekeeper-1"].promise(branch, 1)
    keepers["safekeeper-1"].arrive(branch, b"...")   # what a primary of the received term has flushed there

WAL is bytes, in which every byte is the end of a record unless `records_end` says otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from neon_compose.errors import Conflict, Invalid, NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.terms import members
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer, Copy, Cut, Member, Promise
from neon_compose.wire.safekeeper import (
    BranchStatus,
    EnrolQuery,
    Peer,
    ReceiverRequest,
    SafekeeperStatus,
    history_of,
    starts_of,
)


@dataclass
class _Branch:
    member: Member
    segment_size: int
    timeline: int
    begin: Lsn  # of the first segment
    wal: bytearray
    receiver: ReceiverRequest | None = None

    def read(self, start: Lsn, end: Lsn) -> bytes:
        return bytes(self.wal[start.value - self.begin.value : end.value - self.begin.value])

    def cut(self, at: Lsn) -> None:
        del self.wal[at.value - self.begin.value :]


@dataclass
class FakeSafekeeper:
    """One safekeeper. `down` answers nobody; `lose_volume` makes it a new identity that knows nothing."""

    host: str
    others: dict[str, FakeSafekeeper] = field(default_factory=dict)
    identity: UUID = field(default_factory=new_id)
    down: bool = False
    receives: bool = True  # else its receivers stay "connecting"
    records_end: Callable[[UUID, Lsn], Lsn] = lambda _, flushed: flushed
    calls: list[str] = field(default_factory=list)
    branches: dict[UUID, _Branch] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # ---- what happens to it

    def lose_volume(self) -> None:
        self.identity, self.branches = new_id(), {}

    def arrive(self, branch: UUID, data: bytes) -> Lsn:
        """WAL of the received term comes from its primary, and is synced; its end."""
        with self._lock:
            found = self.branches[branch]
            assert found.receiver is not None, "nothing is received"
            start = found.member.flushed
            end = Lsn(start.value + len(data))
            found.member = members.receive(found.member, found.receiver.term, start, end)
            found.wal += data
            return end

    # ---- the client's methods

    def __enter__(self) -> FakeSafekeeper:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def healthy(self) -> bool:
        return not self.down

    def status(self) -> SafekeeperStatus:
        self._called("status")
        found = [self._status(one) for one in self.branches]
        return SafekeeperStatus(identity=str(self.identity), branches=found, free_bytes=1 << 40)

    def branch(self, branch: UUID) -> BranchStatus:
        self._called("branch")
        return self._status(branch)

    def wal(self, branch: UUID, start: Lsn, end: Lsn) -> Iterator[bytes]:
        self._called("wal")
        found = self._find(branch)
        if not found.begin <= start <= end <= found.member.flushed:
            raise Conflict(f"there is no WAL from {start} to {end}", code="wal_behind")
        yield found.read(start, end)

    def enrol(self, branch: UUID, query: EnrolQuery, before: bytes) -> BranchStatus:
        self._called("enrol")
        if query.identity != str(self.identity):
            raise Conflict(f"this safekeeper is {self.identity}", code="other_identity")
        oldest = Lsn.parse(query.oldest)
        if len(before) != oldest.value % query.segment_size:
            raise Invalid(f"{len(before)} bytes are not the segment's WAL up to {oldest}")
        history = history_of(query.starts())
        wanted = Member(self.identity, query.promised, history, oldest, oldest, counts_from=query.counts_from)
        with self._lock:
            there = self.branches.get(branch)
            made = wanted
            if there is not None:
                made = members.installed(there.member, wanted) if history.starts else None
            if made is not None:
                begin = Lsn(oldest.value - len(before))
                self.branches[branch] = _Branch(
                    made, query.segment_size, query.timeline, begin, bytearray(before)
                )
            elif there is not None and not there.member.history.starts:
                there.member = replace(
                    there.member,
                    promised=max(there.member.promised, query.promised),
                    counts_from=max(there.member.counts_from, query.counts_from),
                )
            return self._status(branch)

    def promise(self, branch: UUID, term: int) -> Answer:
        self._called("promise")
        with self._lock:
            found = self._find(branch)
            self._promise(found, term)
            return members.answer(found.member, self.records_end(branch, found.member.flushed))

    def adopt(self, branch: UUID, history: History, peers: Sequence[Peer]) -> BranchStatus:
        self._called("adopt")
        with self._lock:
            found = self._find(branch)
            while (step := members.next_step(found.member, history)) is not None:
                if isinstance(step, Promise):
                    self._promise(found, step.term)
                    continue
                if isinstance(step, Cut):
                    found.cut(step.at)
                if isinstance(step, Copy):
                    step = self._copy(branch, found, history, step, peers)
                found.member = members.after(found.member, step)
            return self._status(branch)

    def expect(self, branch: UUID, request: ReceiverRequest) -> None:
        self._called("expect")
        with self._lock:
            found = self._find(branch)
            flushed = found.member.flushed
            members.receive(found.member, request.term, flushed, flushed)  # or it says why not

    def receive(self, branch: UUID, request: ReceiverRequest) -> BranchStatus:
        self._called("receive")
        with self._lock:
            found = self._find(branch)
            flushed = found.member.flushed
            found.member = members.receive(found.member, request.term, flushed, flushed)
            found.receiver = request
            return self._status(branch)

    def stop_receiving(self, branch: UUID) -> None:
        self._called("stop_receiving")
        self._find(branch).receiver = None

    def commit(self, branch: UUID, term: int, lsn: Lsn) -> None:
        self._called("commit")
        with self._lock:
            found = self._find(branch)
            end = self.records_end(branch, min(lsn, found.member.flushed))
            found.member = members.hear_commit(found.member, term, end)

    def trim(self, branch: UUID, needed: Lsn) -> BranchStatus:
        self._called("trim")
        with self._lock:
            found = self._find(branch)
            found.member = members.trim(found.member, needed)
            oldest = found.member.oldest.value
            begin = Lsn(max(found.begin.value, oldest - oldest % found.segment_size))
            found.wal, found.begin = bytearray(found.read(begin, found.member.flushed)), begin
            return self._status(branch)

    def delete(self, branch: UUID) -> None:
        self._called("delete")
        self.branches.pop(branch, None)

    # ---- inside

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise Unavailable(f"the safekeeper at {self.host} does not answer", code="safekeeper_down")

    def _find(self, branch: UUID) -> _Branch:
        if branch not in self.branches:
            raise NotFound(f"branch {branch} is not kept here", code="no_branch")
        return self.branches[branch]

    def _promise(self, found: _Branch, term: int) -> None:
        promised = members.promise(found.member, term)
        if found.receiver is not None and found.receiver.term < term:
            found.receiver = None
        found.member = promised

    def _copy(
        self, branch: UUID, found: _Branch, history: History, step: Copy, peers: Sequence[Peer]
    ) -> Copy:
        for peer in peers:
            other = self.others.get(peer.host)
            if other is None or other.down or branch not in other.branches:
                continue
            source = other.branches[branch]
            upto = min(members.supplies(source.member, history), step.end)
            known = str(other.identity) == peer.identity and source.begin <= step.start
            if known and upto > step.start:
                found.wal += source.read(step.start, upto)
                return replace(step, end=upto)
        raise Unavailable(f"nobody gives WAL from {step.start} on", code="no_supplier")

    def _status(self, branch: UUID) -> BranchStatus:
        found = self._find(branch)
        member = found.member
        running = "receiving" if self.receives else "connecting"
        return BranchStatus(
            branch_id=str(branch),
            identity=str(member.identity),
            promised=member.promised,
            term=member.history.last.term,
            history=starts_of(member.history),
            oldest=str(member.oldest),
            flushed=str(member.flushed),
            committed=str(member.committed),
            counts=member.counts,
            receiver=running if found.receiver else "stopped",
            wal_bytes=len(found.wal),
        )


class FakeSafekeepers(dict[str, FakeSafekeeper]):
    """`count` of them by host name, as a pageserver is told them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for number in range(1, count + 1):
            self[f"safekeeper-{number}"] = FakeSafekeeper(f"safekeeper-{number}", others=self)
