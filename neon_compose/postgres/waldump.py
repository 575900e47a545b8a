"""Running pg_waldump over a folder: its lines, and what it complains of at the end.

Owns: the command, the shape of a line, telling the end of WAL from WAL it can't read. Does not do: deciding
what an end means (walk.py does, and compute/writes.py for its own question).

pg_waldump looks for a missing segment for 5 s, hence both ends of the range are named. It opens segments by
their complete name only: `walk.py` shows it a partial one under that name.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from neon_compose.model.lsn import Lsn
from neon_compose.postgres.versions import Version
from neon_compose.postgres.wal import record_end

_LINE = re.compile(
    r"rmgr: (\S+) +len \(rec/tot\): *\d+/ *(\d+), tx: *\d+, lsn: ([0-9A-F]+/[0-9A-F]+), "
    r"prev [0-9A-F]+/[0-9A-F]+, desc: (.*)"
)
_END_OF_WAL = re.compile(r"error in WAL record at|could not find file|could not open file")
_CHECKPOINTS = (b"desc: CHECKPOINT_ONLINE ", b"desc: CHECKPOINT_SHUTDOWN ")
_CHUNK = 1 << 16
_ENVIRONMENT = {"TZ": "UTC", "LC_ALL": "C"}  # how it writes times and messages


@dataclass(frozen=True)
class Line:
    """What pg_waldump says of one record."""

    rmgr: str
    length: int
    start: Lsn
    description: str

    @classmethod
    def parse(cls, text: str) -> Line | None:
        match = _LINE.match(text)
        return cls(match[1], int(match[2]), Lsn.parse(match[3]), match[4]) if match else None

    def end(self, segment_size: int) -> Lsn:
        """Where the next record begins, or the header of its page. A SWITCH takes the rest of its segment."""
        end = record_end(self.start, self.length, segment_size)
        if self.rmgr == "XLOG" and self.description.startswith("SWITCH"):
            return Lsn(-(-end.value // segment_size) * segment_size)
        return end


@dataclass(frozen=True)
class Ends:
    """What a whole dump comes to: its first record, its last, and the last checkpoint among them."""

    first: Line | None
    last: Line | None
    checkpoint: Line | None


class Dump:
    """A running pg_waldump. Its lines are read first, then its complaint."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def lines(self) -> Iterator[str]:
        for line in _stream(self._process.stdout):
            yield line.decode(errors="replace")

    def ends(self) -> Ends:
        """See `Ends`; what lies between is thrown away unread."""
        stream = _stream(self._process.stdout)
        first = last = stream.readline()
        checkpoint = _last_checkpoint(first)
        while chunk := stream.read(_CHUNK):
            last += chunk
            checkpoint = _last_checkpoint(last) or checkpoint
            last = last[last.rfind(b"\n", 0, -1) + 1 :]  # a line can be longer than any chunk
        return Ends(_parsed(first), _parsed(last), _parsed(checkpoint))

    def complaint(self) -> str:
        """What it said on stderr until its end."""
        return _stream(self._process.stderr).read().decode(errors="replace").strip()

    def failed(self) -> bool:
        """Whether it ended otherwise than at the end of what it was asked for. Waits for it."""
        return self._process.wait() != 0


@contextmanager
def dumping(version: Version, wal: Path, start: Lsn, first: str, last: str, *options: str) -> Iterator[Dump]:
    """pg_waldump over the segments `first` to `last` in `wal`, from `start` on; gone at the end.

    The segments are named because it else learns the segment size from whichever file it finds first, and
    a preallocated one says nothing. Raises OSError if it can't be run.
    """
    program = str(version.program("pg_waldump"))
    with subprocess.Popen(
        [program, f"--path={wal}", f"--start={start}", *options, first, last],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_ENVIRONMENT,
    ) as process:
        try:
            yield Dump(process)
        finally:
            process.kill()


def is_end_of_wal(complaint: str) -> bool:
    """Whether it came to the end of valid WAL, of which it always complains; else it couldn't read it."""
    return not complaint or _END_OF_WAL.search(complaint) is not None


def _last_checkpoint(lines: bytes) -> bytes:
    """The last line that tells a checkpoint, as far as it is there; the first line begins with `lines`.

    A logical message may hold the same words: for whoever looks that is one look in vain, at most.
    """
    at = max(lines.rfind(word) for word in _CHECKPOINTS)
    return lines[lines.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0] if at >= 0 else b""


def _parsed(line: bytes) -> Line | None:
    return Line.parse(line.decode(errors="replace"))


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
