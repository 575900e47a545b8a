"""Messages between pageservers, safekeepers and the controller (internal HTTP, port 6401, `/v1`).

    GET    /status                          SafekeeperStatus
    GET    /branches/{id}                   BranchStatus; NotFound code "no_branch"
    PUT    /branches/{id}?…                 EnrolQuery; body: the WAL of the first segment up to `oldest`;
                                            BranchStatus. Repeat is success; with a history, what is here of
                                            the branch gives way if it doesn't contain that
    POST   /branches/{id}/promise           PromiseRequest -> AnswerOut, durable before it is answered
    POST   /branches/{id}/adopt             AdoptRequest -> BranchStatus; asked again while its receiver says
                                            "wal gone", it copies that WAL from the peers
    POST   /branches/{id}/expect            ReceiverRequest -> 204: the primary is up and being checked; make
                                            a session and the slot. Nothing is received, or known
                                            after a restart, before the next
    PUT    /branches/{id}/receiver          ReceiverRequest -> BranchStatus; kept over a restart
    DELETE /branches/{id}/receiver          204: nothing is received any more
    POST   /branches/{id}/commit            CommitRequest -> 204
    GET    /branches/{id}/wal?start=&end=   the bytes [start, end) of the branch's WAL as flushed
    POST   /branches/{id}/trim              TrimRequest -> BranchStatus
    DELETE /branches/{id}                   204: all of the branch goes; repeat is success

What each means is in neon_compose.terms. LSNs are text like 0/1A2B3C4D, ids UUIDs as text. Requests refuse
unknown fields, responses ignore them.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from neon_compose.model.lsn import Lsn
from neon_compose.terms.history import History, Log, TermStart
from neon_compose.terms.members import Answer, Member, Report

PORT = 6401
_START = "[0-9]+@[0-9A-F]+/[0-9A-F]+"


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Response(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TermStartIn(_Request):
    term: int = Field(ge=0)
    start: str


class EnrolQuery(_Request):
    """A branch's member as `register.enrol` made it, and the form of its WAL."""

    identity: str  # refused if it isn't this safekeeper's: code "other_identity"
    promised: int = Field(ge=0)
    oldest: str
    counts_from: int = Field(ge=0)
    timeline: int = Field(ge=1)
    segment_size: int = Field(ge=1 << 20, le=1 << 30)
    history: str = Field("", pattern=rf"^({_START}(,{_START})*)?$")  # "1@0/15000000,2@0/16000060"

    def starts(self) -> list[TermStartIn]:
        """The decided history that ends at `oldest`, which is installed there."""
        pairs = (one.split("@") for one in self.history.split(",") if one)
        return [TermStartIn(term=int(term), start=start) for term, start in pairs]


class PromiseRequest(_Request):
    term: int = Field(ge=1)


class Peer(_Request):
    """A safekeeper to copy from: its name in the stack's network, and which identity must be there."""

    identity: str
    host: str


class AdoptRequest(_Request):
    """Adopt the last term of `history`; what is missing before its start comes from `peers`."""

    history: list[TermStartIn]
    peers: list[Peer] = Field(default_factory=list)


class ReceiverRequest(_Request):
    """Receive WAL of the adopted `term` from this primary, as `user`; `password` is stored 0600 only."""

    term: int = Field(ge=1)
    host: str
    port: int = Field(ge=1, le=65535)
    user: str
    password: SecretStr


class CommitRequest(_Request):
    term: int
    lsn: str


class TrimRequest(_Request):
    """WAL before `needed` is archived and covered by a layer."""

    needed: str


class AnswerOut(_Response):
    identity: str
    term: int
    history: list[TermStartIn]
    end: str
    oldest: str
    counts: bool

    def answer(self) -> Answer:
        log = Log(history_of(self.history), Lsn.parse(self.end))
        return Answer(UUID(self.identity), self.term, log, Lsn.parse(self.oldest), self.counts)


class BranchStatus(_Response):
    """How one safekeeper stands with one branch. `term` is the adopted one, 0 before there is one;
    `flushed` is durable here."""

    branch_id: str
    identity: str
    promised: int
    term: int
    history: list[TermStartIn]
    oldest: str
    flushed: str
    committed: str
    counts: bool
    receiver: str = "stopped"  # a `Condition`: "connecting", "receiving", "unreachable", "disk full", …
    trouble: dict[str, Any] | None = None  # the problem document that goes with it
    wal_bytes: int = 0  # allocated on its disk

    def report(self) -> Report | None:
        """What counts for the commit LSN; None as long as nothing may be received here."""
        last = history_of(self.history).last
        if not last.term or last.term != self.promised or Lsn.parse(self.flushed) < last.start:
            return None
        return Report(UUID(self.identity), last.term, Lsn.parse(self.flushed))


class SafekeeperStatus(_Response):
    identity: str
    branches: list[BranchStatus] = Field(default_factory=list)
    free_bytes: int = 0  # on the disk that its WAL is on


def history_of(starts: list[TermStartIn]) -> History:
    return History(tuple(TermStart(one.term, Lsn.parse(one.start)) for one in starts))


def starts_of(history: History) -> list[TermStartIn]:
    return [TermStartIn(term=one.term, start=str(one.start)) for one in history.starts]


def enrol_query(member: Member, timeline: int, segment_size: int) -> EnrolQuery:
    return EnrolQuery(
        identity=str(member.identity),
        promised=member.promised,
        oldest=str(member.oldest),
        counts_from=member.counts_from,
        timeline=timeline,
        segment_size=segment_size,
        history=",".join(f"{one.term}@{one.start}" for one in member.history.starts),
    )
