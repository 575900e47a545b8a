"""Segment keys: which file of PGDATA is a relation segment, and which path a key has.

    base/<db>/<rel>[_fsm|_vm|_init][.<seg>]     spc 1663
    global/<rel>[_fsm|_vm|_init][.<seg>]        spc 1664, db 0

Numbers are canonical (no leading zero, u32), seg >= 1 where it is present. Everything else under PGDATA
(pg_filenode.map, PG_VERSION, temporary relations `t<backend>_<rel>`, …) is not a relation segment.
The shim has the same rule in C (images/compute/shim).
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

BLOCK = 8192
BLOCKS_PER_SEGMENT = 131072
DEFAULT_SPC = 1663
GLOBAL_SPC = 1664
_U32 = 0xFFFFFFFF

_N = r"(0|[1-9][0-9]{0,9})"
_NAME = re.compile(_N + r"(_fsm|_vm|_init)?(?:\.([1-9][0-9]{0,9}))?")
_PATH = re.compile(r"(?:base/" + _N + r"|global)/([^/]+)")
_TEMP = re.compile(r"t[0-9]+_[0-9]+(_fsm|_vm|_init)?(\.[0-9]+)?")


class Fork(IntEnum):
    MAIN = 0
    FSM = 1
    VM = 2
    INIT = 3


_SUFFIXES = ("", "_fsm", "_vm", "_init")
_FORKS = {None: 0, "_fsm": 1, "_vm": 2, "_init": 3}


class SegmentKey(NamedTuple):
    """One file of a relation; tuples sort as the formats do."""

    spc: int
    db: int
    rel: int
    fork: int
    seg: int

    def folder(self) -> str:
        """The folder under PGDATA."""
        return "global" if self.spc == GLOBAL_SPC else f"base/{self.db}"

    def name(self) -> str:
        """The file's name in its folder."""
        base = f"{self.rel}{_SUFFIXES[self.fork]}"
        return f"{base}.{self.seg}" if self.seg else base

    def path(self) -> str:
        """The path relative to PGDATA."""
        return f"{self.folder()}/{self.name()}"

    @property
    def relation(self) -> tuple[int, int, int]:
        return self[:3]

    @classmethod
    def parse(cls, path: str) -> SegmentKey | None:
        """The key of a path relative to PGDATA, or None if it is not a relation segment."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        name = parse_name(match[2])
        if name is None:
            return None
        db = int(match[1]) if match[1] is not None else 0
        spc = GLOBAL_SPC if match[1] is None else DEFAULT_SPC
        return cls(spc, db, *name) if db <= _U32 else None


def parse_name(name: str) -> tuple[int, int, int] | None:
    """(rel, fork, seg) of a file's name, or None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    rel, seg = int(match[1]), int(match[3] or 0)
    return (rel, _FORKS[match[2]], seg) if rel <= _U32 and seg <= _U32 else None


def is_temporary(name: str) -> bool:
    """Whether `name` is a file of a temporary relation, which Postgres removes when it starts."""
    return _TEMP.fullmatch(name) is not None
