"""The plain-file model: what each block of a life's segments may read as after a power cut.

Each file that ever had a segment's name is an *incarnation*, known by its number on the disk. Each of its
blocks has a history of contents: what it began with, each version written, zeros wherever it was cut off or
lies past the end. Its *floor* is the entry that was newest when a sync began that ended before the last
successful write of pg_control. As in tests/shim/test_power.c:

    each half of a block (4 KiB) reads as one entry of the history of the incarnation that has the name
    after the cut, the floor's or a later one.

So what a checkpoint synced reads back exactly or newer, what was never synced as before or as written,
nothing as a hole or another's block, and nothing under a new file's name as in the dropped one. One
exception: a file whose unlink was lost is a dropped relation's, and nobody reads it: upstream unlinks once
the drop is durable. That it was replaced may have survived, so it shows whatever its own blocks held, but no
other's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from tests.power.disk import Disk
from tests.power.log import Kind, Record

BLOCK = 8192
MAX_BLOCKS = 32
SEGMENTS = ("base/5/100", "base/5/101", "global/300", "base/5/16400")  # as in workload.c
LAYER = 1  # the version that layers hold
ZERO = bytes(BLOCK)

_HALVES = (slice(0, BLOCK // 2), slice(BLOCK // 2, BLOCK))
_MAGIC = 0x4E454F4E
_NAMES = {path.rsplit("/", 1)[1]: n for n, path in enumerate(SEGMENTS)}


def page(segment: int, block: int, version: int) -> bytes:
    return struct.pack("<4I", segment, block, version, _MAGIC) * (BLOCK // 16)


def _version(content: bytes) -> int:
    return int(struct.unpack_from("<I", content, 8)[0])


def words(content: bytes) -> str:
    """What a block is, for people."""
    names = []
    for half in _HALVES:
        segment, block, version, magic = struct.unpack_from("<4I", content[half])
        names.append(f"{segment}.{block}v{version}" if magic == _MAGIC else f"{content[half][:8].hex()}..")
    return "|".join(names)


def blocks_of(content: bytes) -> list[bytes]:
    """Whole blocks up to MAX_BLOCKS, what lies past the end as zeros."""
    padded = content.ljust(MAX_BLOCKS * BLOCK, b"\0")
    return [padded[at : at + BLOCK] for at in range(0, MAX_BLOCKS * BLOCK, BLOCK)]


@dataclass
class Incarnation:
    history: list[list[bytes]]
    synced: list[int] = field(default_factory=lambda: [0] * MAX_BLOCKS)
    floor: list[int] = field(default_factory=lambda: [0] * MAX_BLOCKS)
    unlinked: bool = False

    @classmethod
    def of(cls, content: bytes) -> Incarnation:
        return cls([[block] for block in blocks_of(content)])

    def now(self) -> list[int]:
        return [len(one) - 1 for one in self.history]

    def complaint(self, segment: int, block: int, content: bytes) -> str | None:
        allowed = self.history[block][self.floor[block] :]
        if self.unlinked:
            versions = [_version(content[half]) for half in _HALVES]
            allowed = [*allowed, ZERO, *(page(segment, block, version) for version in versions)]
        if all(any(content[half] == one[half] for one in allowed) for half in _HALVES):
            return None
        return f"block {block} reads as {words(content)}, not one of {[words(one) for one in allowed]}"


class Model:
    """Fed with the log, after the disk. `numbers` and `contents` by path: as the life found them."""

    def __init__(self, numbers: dict[str, int], contents: list[bytes]) -> None:
        self._known: list[dict[int, Incarnation]] = [{} for _ in SEGMENTS]
        self._current: list[Incarnation] = []
        for segment, (path, content) in enumerate(zip(SEGMENTS, contents, strict=True)):
            one = Incarnation.of(content)
            self._current.append(one)
            if f"data/{path}" in numbers:
                self._known[segment][numbers[f"data/{path}"]] = one
        self._syncs: dict[int, tuple[Incarnation, list[int]]] = {}
        self._checkpoint: list[tuple[Incarnation, list[int]]] = []

    def feed(self, record: Record, disk: Disk) -> None:
        if record.kind is Kind.NOTE:
            verb, *rest = record.data.decode().split()
            self._note(verb, [int(word) for word in rest])
        elif record.kind in (Kind.UNLINK, Kind.CREATE) and record.data.decode() in _NAMES:
            segment = _NAMES[record.data.decode()]
            self._current[segment].unlinked |= record.kind is Kind.UNLINK
            self._current[segment] = Incarnation.of(b"")
            if record.kind is Kind.CREATE:
                self._known[segment][disk.number(record.inode)] = self._current[segment]

    def _note(self, verb: str, numbers: list[int]) -> None:
        match verb:
            case "write":
                segment, first, count, version = numbers
                for n in range(count):
                    content = page(segment, first + n, version + n)
                    self._current[segment].history[first + n].append(content)
            case "cut":
                segment, first = numbers
                for block in range(first, MAX_BLOCKS):
                    self._current[segment].history[block].append(ZERO)
            case "sync":
                self._syncs[numbers[0]] = (self._current[numbers[0]], self._current[numbers[0]].now())
            case "synced":
                synced, began = self._syncs[numbers[0]]
                synced.synced = began
            case "checkpoint":
                self._checkpoint = [(one, one.synced) for one in self._current]
            case "checkpointed":
                for one, synced in self._checkpoint:
                    one.floor = synced
            case _:
                raise AssertionError(verb)

    def complaints(self, numbers: dict[str, int], contents: list[bytes]) -> list[str]:
        """What is wrong with the contents read from an image whose files have these numbers."""
        found = []
        for segment, (path, content) in enumerate(zip(SEGMENTS, contents, strict=True)):
            number = numbers.get(f"data/{path}")
            if number is None:
                found += [f"{path} is absent, and has content"] if content else []
                continue
            judge = self._known[segment][number]
            for block, one in enumerate(blocks_of(content)):
                if complaint := judge.complaint(segment, block, one):
                    found.append(f"{path} {complaint}")
        return found

    def lost(self, contents: list[bytes]) -> int:
        """How many blocks don't read as last written: a cut that loses nothing tests nothing."""
        return sum(
            one != current.history[block][-1]
            for current, content in zip(self._current, contents, strict=True)
            for block, one in enumerate(blocks_of(content))
        )
