"""When files last changed, as the kernel stamps them: what an answer about their content is good for.

A stamp holds a file's change time, which no program can set back (unlike the modification time), but
which moves in ticks of up to 10 ms and is set before the bytes are there. So equal stamps prove equal
content only if they were seen a good while after they were made: `age_ns` says by how much. As with
git's index, an answer about younger files is good for this once and not remembered.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_NS = 1_000_000_000  # a hundred of the coarsest ticks


class Stamp(NamedTuple):
    name: str
    inode: int
    size: int
    changed_ns: int
    modified_ns: int


Stamps = tuple[Stamp, ...]


def stamp(path: str) -> Stamp | None:
    """None if it isn't there."""
    try:
        return _of(path, os.lstat(path))
    except FileNotFoundError:
        return None


def stamps_in(folder: Path | str, name_length: int | None = None) -> list[Stamp]:
    """Of what lies in the folder, by name; with names of one length only if that is given."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if name_length is None or len(entry.name) == name_length:
                try:
                    found.append(_of(entry.name, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:  # recycled since it was listed
                    continue
    return sorted(found)


def age_ns(stamps: Stamps, now_ns: int) -> int:
    """How long before `now_ns` the last change was, less what makes it certain: over 0, a change from
    `now_ns` on gives other stamps. A clock that was set back makes it negative."""
    return now_ns - max((one.changed_ns for one in stamps), default=0) - _TICKS_NS


def _of(name: str, status: os.stat_result) -> Stamp:
    return Stamp(name, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)
