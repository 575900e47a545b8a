"""What a full or failing disk makes of a request: an error that names the volume and says what to do.

Owns the translation at the border of a process. The ways down to the disk are many: our own writes, Postgres
over scratch, tar, pg_restore; each says it in its own words. So it is recognised here, once: by errno, or by
the kernel's words in what a program said. A file's path tells which place it was; where nothing does, it is
the one with the least room.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import DiskFull, NeonError, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAILED = (errno.EIO, errno.EROFS)
_FULL_WORDS = tuple(os.strerror(code) for code in _FULL)
_FAILED_WORDS = tuple(os.strerror(code) for code in _FAILED)
_NAMED = ("disk_full", "disk_failed")


@dataclass(frozen=True)
class Place:
    """A mounted folder, and what people know it as."""

    folder: Path
    words: str


def room_bytes(folder: Path) -> int:
    """What we may still write there."""
    try:
        seen = os.statvfs(folder)
    except OSError:  # it does not even answer: then it is the one
        return -1
    return seen.f_bavail * seen.f_frsize


@dataclass(frozen=True)
class Disks:
    """The places a process writes to."""

    places: Sequence[Place]
    room: Callable[[Path], int] = room_bytes

    def explain(self, error: Exception) -> NeonError | None:
        """The error in words about a disk; None if it isn't about one, or says so already."""
        if not self.places or getattr(error, "code", "") in _NAMED:
            return None
        said, filename = _said(error), str(getattr(error, "filename", None) or "")
        code = error.errno if isinstance(error, OSError) else None
        if code in _FULL or isinstance(error, DiskFull) or _says(said, _FULL_WORDS):
            return full(self._place(said, filename), said)
        if code in _FAILED or (isinstance(error, NeonError) and _says(said, _FAILED_WORDS)):
            return failed(self._place(said, filename), said)
        return None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise what is about a disk in its words, anything else as it is."""
        try:
            yield
        except (NeonError, OSError) as error:
            said = self.explain(error)
            if said is None:
                raise
            raise said from error

    def _place(self, said: str, filename: str) -> str:
        for text in (filename, said):
            named = [place for place in self.places if f"{place.folder}/" in text]
            if len(named) == 1:
                return named[0].words
        return min(self.places, key=lambda place: self.room(place.folder)).words


def full(place: str, said: str) -> DiskFull:
    return DiskFull(
        f"{place} is full",
        detail=said,
        hint="Make room on its disk: destroy pgs and delete branches that nobody needs, or remove other "
        "files there; then repeat. Nothing of this request was kept.",
        code="disk_full",
    )


def failed(place: str, said: str) -> Unavailable:
    return Unavailable(
        f"{place} can't be read or written",
        detail=said,
        hint="Its disk or file system fails: dmesg on the engine's machine says more. Nothing of this "
        "request was kept.",
        code="disk_failed",
    )


def _says(said: str, words: Sequence[str]) -> bool:
    """Whether a program complains in these words of a file: not of /dev/shm, and not in what it quotes."""
    lines = [one for one in said.splitlines() if not one.lstrip().startswith(("CONTEXT:", "DETAIL:"))]
    return any(each in one and "shared memory" not in one for one in lines for each in words)


def _said(error: Exception) -> str:
    if isinstance(error, NeonError):
        return error.detail or error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}." if error.filename else f"{error.strerror}."
    return str(error)
