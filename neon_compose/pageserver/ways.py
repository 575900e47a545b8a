"""Where to take WAL from: safekeepers and the archive, and in which order to try. Pure.

Each way is whole. First what each safekeeper has, and the archive for what that trimmed; then the archive
for all it has, and a safekeeper for the rest: so a segment that is damaged in one place comes from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from neon_compose.model.lsn import Lsn

Read = Callable[[Lsn, Lsn], Iterator[bytes]]  # WAL [start, end)
Stretch = tuple[Lsn, Lsn]
ARCHIVE = "the archive"


class Source(NamedTuple):
    """Somebody who has WAL from the segment of `oldest` on, up to all that is asked for."""

    name: str
    read: Read
    oldest: Lsn


class Part(NamedTuple):
    read: Read
    start: Lsn
    end: Lsn


class Way(NamedTuple):
    name: str
    parts: tuple[Part, ...]


def ways(
    lacking: Sequence[Stretch],
    holders: Sequence[Source],
    archive: Read,
    archived: Lsn | None,
    segment_size: int,
) -> Iterator[Way]:
    """All ways to get `lacking`; `archived` is up to where the archive goes."""
    upto = archived or Lsn(0)
    tried = []
    turns = [(one, _begin(one.oldest, segment_size)) for one in holders]
    turns += [(one, upto) for one, kept in turns if kept < upto]
    for holder, parting in turns:
        parts = _parts(lacking, archive, holder.read, parting)
        if parts not in tried and all(part.end <= upto for part in parts if part.read is archive):
            tried.append(parts)
            yield Way(_name(holder.name, parts, archive), parts)
    if not holders and all(end <= upto for _, end in lacking):
        yield Way(ARCHIVE, tuple(Part(archive, *one) for one in lacking))


def _parts(lacking: Sequence[Stretch], archive: Read, read: Read, parting: Lsn) -> tuple[Part, ...]:
    """Before `parting` the archive, from there on the other."""
    found = []
    for start, end in lacking:
        if start < parting:
            found.append(Part(archive, start, min(end, parting)))
        if end > parting:
            found.append(Part(read, max(start, parting), end))
    return tuple(found)


def _begin(lsn: Lsn, segment_size: int) -> Lsn:
    return Lsn(lsn.value - lsn.value % segment_size)


def _name(holder: str, parts: tuple[Part, ...], archive: Read) -> str:
    readers = [part.read is archive for part in parts]
    if all(readers):
        return ARCHIVE
    return f"{ARCHIVE} and {holder}" if any(readers) else holder
