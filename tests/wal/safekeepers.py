"""Safekeeper processes for these tests, and a candidate that leads a branch from term to term. Runs inside a
container.

Each process has an address of the loopback net, as each has one in a stack's network.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from neon_compose import wait
from neon_compose.errors import NeonError
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.__main__ import main
from neon_compose.safekeeper.condition import Condition
from neon_compose.terms import register
from neon_compose.terms.history import History
from neon_compose.terms.names import standby_name
from neon_compose.wire.safekeeper import BranchStatus, Peer, ReceiverRequest, enrol_query
from neon_compose.wire.safekeeper_client import SafekeeperClient, address
from tests.wal.place import Place
from tests.wal.server import BRANCH, PORT, SEGMENT, Server, Template

_TOKEN = "t0k3n"
_UP_S = 30.0


class Process:
    """One safekeeper, over a volume that outlives its kills."""

    def __init__(self, home: Path, number: int) -> None:
        self.host = f"127.0.0.{number}"
        self.home = home / f"safekeeper{number}"
        (self.home / "volume").mkdir(parents=True, exist_ok=True)
        (self.home / "token").write_text(_TOKEN)
        self.client = SafekeeperClient(address(self.host), _TOKEN)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self.home / "log").open("ab") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.wal.safekeepers", str(self.home / "volume"), self.host],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                env=os.environ | {"NEON_TOKEN_FILE": str(self.home / "token")},
            )
        wait.until(self.host, self.client.healthy, wait.Deadline.after(_UP_S), last_words=self.said)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """SIGTERM, as an engine stops it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def said(self) -> str:
        return (self.home / "log").read_text(errors="replace")[-3000:]

    @property
    def status(self) -> BranchStatus:
        return self.client.branch(BRANCH)

    @property
    def flushed(self) -> Lsn:
        return Lsn.parse(self.status.flushed)

    def await_condition(self, condition: Condition) -> None:
        def words() -> str:
            return f"{self.status} {self.said()}"

        there = lambda: self.status.receiver == condition.value  # noqa: E731
        wait.until(condition.value, there, wait.Deadline.after(60), last_words=words)

    def await_receiving(self) -> None:
        self.await_condition(Condition.RECEIVING)


@dataclass
class Branch:
    """What the pageserver does for a branch: its manifest is `register` in memory."""

    template: Template
    keepers: list[Process]
    kept: register.Register = field(init=False)

    def __post_init__(self) -> None:
        self.kept = register.new_register(len(self.keepers))
        start = self.template.start
        for seat, keeper in enumerate(self.keepers):
            identity = keeper.client.status().identity
            self.kept, member = register.enrol(self.kept, seat, UUID(identity), start)
            keeper.client.enrol(BRANCH, enrol_query(member, 1, SEGMENT), self.template.before(start))

    @property
    def term(self) -> int:
        return self.kept.decided.history.last.term

    def lead(self, asked: list[Process]) -> History:
        """A new term by the promises of `asked`."""
        self.kept = register.claim(self.kept)
        term = self.kept.claimed.term
        history = register.choose(self.kept.claimed, [one.client.promise(BRANCH, term) for one in asked])
        self.kept = register.decide(self.kept, history)
        return history

    def adopt(self, keeper: Process) -> BranchStatus:
        peers = [
            Peer(identity=str(seat), host=one.host)
            for seat, one in zip(self.kept.decided.seats, self.keepers, strict=True)
            if one is not keeper
        ]
        return keeper.client.adopt(BRANCH, self.kept.decided.history, peers)

    def receive(self, keeper: Process, server: Server, user: str, password: str = "") -> BranchStatus:
        primary = server.primary
        return keeper.client.receive(
            BRANCH,
            ReceiverRequest(
                term=self.term, host=primary.host, port=PORT, user=user, password=SecretStr(password)
            ),
        )

    def standbys(self) -> str:
        """synchronous_standby_names of the decided term."""
        seats = [seat for seat in self.kept.decided.seats if seat is not None]
        names = ", ".join(f'"{standby_name(BRANCH, self.term, seat)}"' for seat in seats)
        return f"ANY {register.majority(self.kept.decided.seats)} ({names})"

    def wal_up_to(self, keeper: Process, end: Lsn) -> dict[str, bytes]:
        """What a compute replays, as `keeper` has it."""
        wal = self.template.wal
        first = wal.number(self.template.redo)
        data = b"".join(keeper.client.wal(BRANCH, wal.begin(first), end))
        pieces = [data[at : at + SEGMENT] for at in range(0, len(data), SEGMENT)]
        return {wal.name(first + n): piece.ljust(SEGMENT, b"\0") for n, piece in enumerate(pieces)}

    def commit(self, keepers: list[Process]) -> Lsn | None:
        """The commit LSN by those that answer."""
        reports = []
        for keeper in keepers:
            try:
                reports.append(keeper.status.report())
            except NeonError:
                continue
        return register.commit_lsn(self.kept.decided, [one for one in reports if one is not None])


def keepers_of(place: Place, count: int) -> list[Process]:
    return [Process(place.home, number) for number in range(1, count + 1)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
