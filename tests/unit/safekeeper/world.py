"""Safekeepers over real folders, with receivers that a test feeds. WAL is bytes other than zero, and each of
them ends a record, unless a test says that none ends within some part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from neon_compose.errors import Corrupt, NeonError, Unavailable
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.safekeeper.condition import Condition, State
from neon_compose.safekeeper.keeper import Keeper
from neon_compose.safekeeper.peers import Other
from neon_compose.safekeeper.segments import Segments
from neon_compose.safekeeper.service import Service, branch_status
from neon_compose.safekeeper.standing import Around
from neon_compose.safekeeper.subject import Primary, Subject
from neon_compose.safekeeper.volume import Volume
from neon_compose.wire.safekeeper import BranchStatus, EnrolQuery, Peer

BRANCH = UUID("01900000-0000-7000-8000-00000000000b")
SIZE = 1 << 20
OLDEST = Lsn(SIZE * 5 + 100)
HEAD = b"h" * 100


def at(offset: int) -> Lsn:
    return Lsn(OLDEST.value + offset)


@dataclass
class FakeReceiver:
    segments: Segments
    subject: Subject
    primary: Primary
    condition: Condition = Condition.CONNECTING
    trouble: NeonError | None = None
    nudges: int = 0
    stuck: bool = False
    end: Lsn | None = None

    @property
    def state(self) -> State:
        return State(self.condition, self.trouble)

    @property
    def has_ended(self) -> bool:
        return self.condition is Condition.UNREACHABLE and self.end is not None

    def expect(self) -> None:
        self.condition = Condition.STOPPED

    def start(self) -> None:
        folder = self.segments.folder
        held = self.segments.held()
        assert held is not None
        self.end = folder.last_byte(held.start, folder.number(held.limit) - 1)
        self.condition = Condition.RECEIVING

    def nudge(self) -> None:
        self.nudges += 1

    def stop(self) -> None:
        if self.stuck:
            raise Unavailable("it does not end", code="receiver_stuck")
        self.condition = Condition.STOPPED

    def flushed(self) -> Lsn | None:
        return self.end if self.condition is Condition.RECEIVING else None

    def arrive(self, data: bytes) -> None:
        """As pg_receivewal puts it there."""
        assert self.end is not None
        folder = self.segments.folder
        while data:
            number, head = folder.number(self.end), self.end.value % folder.segment_size
            path = folder.partial(number)
            if not path.exists():
                path.write_bytes(bytes(folder.segment_size))
            part, data = data[: folder.segment_size - head], data[folder.segment_size - head :]
            with path.open("r+b") as file:
                file.seek(head)
                file.write(part)
            self.end = Lsn(self.end.value + len(part))
            if self.end.value % folder.segment_size == 0:
                path.rename(folder.complete(number))


@dataclass
class World:
    """One safekeeper's volume; `start` is a process over it, which ends without a word."""

    home: Path
    hosts: dict[str, World] = field(default_factory=dict)
    others: dict[str, Other] = field(default_factory=dict)  # by host, too
    receivers: list[FakeReceiver] = field(default_factory=list)
    gives: dict[Lsn, Callable[[Lsn], bytes]] = field(default_factory=dict)  # what others get from there on
    within_record: tuple[Lsn, Lsn] | None = None
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        for name in ("volume", "said"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        self.receivers.clear()
        around = Around(self._walk, self._receiver, self._connect, self.home / "said")
        self.service = Service(Volume.open(self.home / "volume"), around)
        self.service.start()

    def restart(self) -> None:
        """As after kill -9: receivers die too, and nothing is written."""
        self.service.close()
        self.start()

    @property
    def identity(self) -> str:
        return self.service.status().identity

    @property
    def keeper(self) -> Keeper:
        return self.service.find(BRANCH)

    @property
    def status(self) -> BranchStatus:
        return branch_status(self.keeper)

    @property
    def receiver(self) -> FakeReceiver:
        return self.receivers[-1]

    @property
    def folder(self) -> Path:
        return self.home / "volume" / "branches" / str(BRANCH)

    def peer(self, host: str) -> Peer:
        self.hosts[host].hosts.setdefault(host, self.hosts[host])
        return Peer(identity=self.hosts[host].identity, host=host)

    def enrol(self, oldest: Lsn = OLDEST, head: bytes = HEAD, **more: int) -> Keeper:
        return self.service.enrol(BRANCH, self.query(oldest, **more), head)

    def query(self, oldest: Lsn = OLDEST, **more: int) -> EnrolQuery:
        asked = {"promised": 0, "counts_from": 0, "timeline": 1, "segment_size": SIZE} | more
        return EnrolQuery.model_validate({"identity": self.identity, "oldest": str(oldest)} | asked)

    def bytes_of(self, start: Lsn, end: Lsn) -> bytes:
        return b"".join(self.keeper.read(start, end))

    def _receiver(self, segments: Segments, subject: Subject, primary: Primary, _: Path) -> FakeReceiver:
        self.receivers.append(FakeReceiver(segments, subject, primary))
        return self.receiver

    def _walk(self, folder: WalFolder, start: Lsn, known: Lsn, upto: Lsn | None) -> Lsn:
        files = folder.files()
        last = folder.last_byte(start, max(files)) if max(files) >= folder.number(start) else start
        data = b"".join(folder.read(number) for number in files)[
            start.value - folder.begin(min(files)).value :
        ]
        hole = data[: last.value - start.value].find(0)
        end = last if hole < 0 else Lsn(start.value + hole)
        if upto is not None:
            end = min(end, upto)
        if end < (known if upto is None else min(known, upto)) and known.value % folder.segment_size:
            raise Corrupt(f"damaged at {end}", code="wal_damaged")
        if self.within_record and self.within_record[0] < end < self.within_record[1]:
            return self.within_record[0]
        return end

    @contextmanager
    def _connect(self, host: str) -> Iterator[Other]:
        if host in self.others:
            yield self.others[host]
        elif host in self.hosts:
            yield _Over(self.hosts[host])
        else:
            raise Unavailable(f"{host} does not answer")


@dataclass
class _Over:
    """Another safekeeper without HTTP between."""

    world: World

    def branch(self, branch: UUID) -> BranchStatus:
        return branch_status(self.world.service.find(branch))

    def wal(self, branch: UUID, start: Lsn, end: Lsn) -> Iterator[bytes]:
        if start in self.world.gives:
            return iter((self.world.gives[start](end),))
        return self.world.service.find(branch).read(start, end)
