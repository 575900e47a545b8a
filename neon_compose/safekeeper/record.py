"""What a safekeeper must not forget of a branch, in the branch's folder.

    member.json   the `Record`, with its checksum (objectstore/codec.py): replaced by a rename
    passfile      the password to receive with, in libpq's form, 0600; written before the record that uses it
    wal/          segments.py; or wal-<id>/, as the record says, once other WAL was installed

`flushed` is not in it: terms/members.py says why.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from neon_compose import durable
from neon_compose.errors import Bug, Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import codec
from neon_compose.safekeeper.segments import Segments
from neon_compose.safekeeper.subject import Primary
from neon_compose.terms.history import History, TermStart
from neon_compose.terms.members import Member

_FORMAT = 1
WAL = "wal"
_NAME, _PASSFILE = "member.json", "passfile"


@dataclass(frozen=True)
class Source:
    """From where WAL of which term is received."""

    term: int
    host: str
    port: int
    user: str

    def primary(self, folder: Path) -> Primary:
        return Primary(self.host, self.port, self.user, folder / _PASSFILE)


@dataclass(frozen=True)
class Record:
    """A branch's member as it is stored, the form of its WAL, and what is received."""

    branch: UUID
    identity: UUID
    promised: int
    history: tuple[TermStart, ...]
    oldest: Lsn
    counts_from: int
    committed: Lsn
    timeline: int
    segment_size: int
    source: Source | None = None
    wal: str = WAL
    format: int = _FORMAT

    @classmethod
    def of(cls, branch: UUID, member: Member, timeline: int, segment_size: int) -> Record:
        return cls(
            branch,
            member.identity,
            member.promised,
            member.history.starts,
            member.oldest,
            member.counts_from,
            member.committed,
            timeline,
            segment_size,
        )

    def member(self, flushed: Lsn) -> Member:
        return Member(
            self.identity,
            self.promised,
            History(self.history),
            self.oldest,
            flushed,
            self.counts_from,
            self.committed,
        )

    def with_member(self, member: Member) -> Record:
        return replace(
            self,
            promised=member.promised,
            history=member.history.starts,
            oldest=member.oldest,
            counts_from=member.counts_from,
            committed=member.committed,
        )


def read(folder: Path, branch: UUID, identity: UUID) -> Record:
    """The record of `branch` in `folder`. Raises `Corrupt` if it isn't one, or another's."""
    path = folder / _NAME
    try:
        found = codec.decode(Record, path.read_bytes(), str(path), _FORMAT)
        History(found.history)
    except FileNotFoundError as error:
        raise Corrupt(f'"{path}" is missing', code="record_lost") from error
    except Bug as error:
        raise Corrupt(f'document "{path}" is damaged', detail=error.message) from error
    if (found.branch, found.identity) != (branch, identity):
        raise Corrupt(
            f'"{path}" is of another branch or safekeeper',
            detail=f"It says branch {found.branch} and safekeeper {found.identity}.",
            code="record_misplaced",
        )
    return found


def write(folder: Path, record: Record) -> None:
    """Durable on return; a crash leaves this or the one before."""
    durable.write_file(folder / _NAME, codec.encode(record))


def seed(folder: Path, record: Record, before: bytes) -> None:
    """Have the record's WAL begin at its `oldest`; `before` is what is in that segment up to there. Its
    folder's name is durable once the record is."""
    with Segments.take(folder / record.wal, record.timeline, record.segment_size) as segments:
        segments.seed(record.oldest, before)


def sweep(folder: Path, record: Record) -> None:
    """Remove WAL that was about to be installed, or was replaced, as the process died."""
    for path in folder.glob(f"{WAL}*"):
        if path.name != record.wal:
            shutil.rmtree(path)


def learn_password(folder: Path, user: str, password: str) -> bool:
    """Store it, durably; whether it is another than what was."""
    path, wanted = folder / _PASSFILE, _passfile(user, password)
    is_new = not path.exists() or path.read_bytes() != wanted
    if is_new:
        durable.write_file(path, wanted)
    return is_new


def _passfile(user: str, password: str) -> bytes:
    """For every host, port and database: where it is used is the record's to say."""
    fields = (one.replace("\\", "\\\\").replace(":", "\\:") for one in (user, password))
    return (":".join(("*", "*", "*", *fields)) + "\n").encode()
