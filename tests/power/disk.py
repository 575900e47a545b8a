"""A disk under power loss: what is on it for certain, and what may be.

Fed with a recorder's log, it knows of every file (by inode) the durable content and the changes after it, and
of every folder the durable names and the changes after them. `Disk.crash` chooses one of the states that
a power cut could leave. What it may choose is what DESIGN 4 lets a disk do:

- A sync makes durable what was done to the file before the sync *began*, when it ends. With the file goes the
  newest name it has, that of its folder, and so on upwards (ext4 and xfs do so); with a folder, its names.
- Each 4 KiB page of a file is as it was at the last sync or at any moment since, each on its own; in
  `words` files (the overlay) each 8 bytes are.
- The size is one of the sizes since the last sync. A truncate that was lost brings back what it cut off; one
  that wasn't, doesn't: pages that it cut are zeros or newer.
- Of the names changed since, any subset, but those of one name in their order; a rename is one change.

Files and folders go by a number of our own, since the kernel gives an inode to a new file as soon as its old
one is gone, while on this disk the old one may still be there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.power.log import Kind, Record

PAGE = 4096
_ZEROS = bytes(PAGE)
_OURS = 1 << 64  # numbers of what was made since, beyond all inodes

Names = dict[tuple[int, str], int]  # (number of the folder, name) -> number


class Change(NamedTuple):
    """A write (data), a truncate (size, cuts), or an extension (size)."""

    at: int
    offset: int
    data: bytes
    size: int
    cuts: bool


@dataclass
class File:
    size: int = 0
    pages: dict[int, bytes] = field(default_factory=dict)  # durable; one that is absent is a hole
    pending: list[Change] = field(default_factory=list)
    words: bool = False

    def settle(self, before: int) -> None:
        """What was done before this position of the log is durable."""
        done = [change for change in self.pending if change.at < before]
        if not done:
            return
        self.pending = self.pending[len(done) :]
        for change in done:
            for page in _touched(change, self.pages):
                self.pages[page] = _apply(change, page, self.pages.get(page, _ZEROS))
            self.size = _size_after(change, self.size)
        self.pages = {page: data for page, data in self.pages.items() if page * PAGE < self.size}

    def crash(self, choose: Chance) -> Content:
        """One of the contents that a power cut could leave."""
        if not self.pending:
            return Content(self.size, self.pages)
        kept = choose.metadata(len(self.pending))
        size = self.size
        by_page: dict[int, list[tuple[bool, Change]]] = {}
        known = set(self.pages)
        for n, change in enumerate(self.pending):
            for page in _touched(change, known):
                by_page.setdefault(page, []).append((n < kept, change))
            known |= by_page.keys()
            if n < kept:
                size = _size_after(change, size)
        pages = dict(self.pages)
        for page, changes in by_page.items():
            pages[page] = self._crash_page(page, changes, choose)
        return Content(size, {page: data for page, data in pages.items() if page * PAGE < size})

    def _crash_page(self, page: int, changes: list[tuple[bool, Change]], choose: Chance) -> bytes:
        low, high = 0, len(changes)
        for n, (kept, change) in enumerate(changes):
            if change.cuts and kept:
                low = n + 1
            elif change.cuts:
                high = n
                break
        states = [self.pages.get(page, _ZEROS)]
        for _, change in changes[:high]:
            states.append(_apply(change, page, states[-1]))
        states = states[low:]
        if not self.words:
            return choose.data(states)
        words = ([state[at : at + 8] for state in states] for at in range(0, PAGE, 8))
        return b"".join(choose.data(word) if word[0] != word[-1] else word[0] for word in words)


class Content(NamedTuple):
    size: int
    pages: dict[int, bytes]


def _touched(change: Change, known: Iterable[int]) -> list[int]:
    if change.cuts:
        return [page for page in known if (page + 1) * PAGE > change.size]
    if not change.data:
        return []
    return list(range(change.offset // PAGE, (change.offset + len(change.data) - 1) // PAGE + 1))


def _apply(change: Change, page: int, old: bytes) -> bytes:
    start = page * PAGE
    if change.cuts:
        keep = max(0, change.size - start)
        return old[:keep] + bytes(PAGE - keep)
    first = max(change.offset, start)
    last = min(change.offset + len(change.data), start + PAGE)
    new = change.data[first - change.offset : last - change.offset]
    return old[: first - start] + new + old[last - start :]


def _size_after(change: Change, size: int) -> int:
    return change.size if change.cuts else max(size, change.size, change.offset + len(change.data))


class Chance:
    """How much of one crash image is lost: all, nothing, or by the toss of a coin each time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._keep_metadata = rng.choice((0.0, 0.5, 1.0))
        self._keep_data = rng.choice((0.0, 0.5, 1.0))

    def metadata(self, n: int) -> int:
        """How many of n changes were kept."""
        if self._keep_metadata == 0.5:
            return self._rng.randint(0, n)
        return n if self._keep_metadata else 0

    def name(self) -> bool:
        return self._rng.random() < self._keep_metadata

    def data(self, states: list[bytes]) -> bytes:
        """One of the states, oldest to newest."""
        if self._keep_data == 0.5:
            return self._rng.choice(states)
        return states[-1 if self._keep_data else 0]


class NameChange(NamedTuple):
    at: int
    number: int
    removed: tuple[int, str] | None
    made: tuple[int, str] | None

    def names(self) -> list[tuple[int, str]]:
        return [name for name in (self.removed, self.made) if name]


@dataclass(frozen=True)
class Image:
    """What is on the disk after a power cut: each name that is there, and each file's content."""

    names: Names
    files: dict[int, Content]


class Disk:
    """See the module. `folders` and `files` are what is durable when the log begins."""

    def __init__(self, folders: set[int], names: Names, files: dict[int, File]) -> None:
        self._folders = folders
        self._names = names
        self._files = files
        self._pending: list[NameChange] = []
        self._numbers: dict[int, int] = {}  # of inodes, where it isn't the inode itself
        self._made = 0

    def number(self, inode: int) -> int:
        """What this disk calls the file that has this inode now."""
        return self._numbers.get(inode, inode)

    def feed(self, record: Record) -> None:
        """The next record. Files in folders that aren't ours are none of our business."""
        if record.kind is Kind.SYNC_END:
            self._sync(self.number(record.inode), record.a)
        elif record.kind in _FILE_CHANGES:
            file = self._files.get(self.number(record.inode))
            if file is not None:
                file.pending.append(_FILE_CHANGES[record.kind](record))
        elif record.kind in (Kind.CREATE, Kind.UNLINK, Kind.RENAME, Kind.LINK):
            self._change_names(record)

    def _change_names(self, record: Record) -> None:
        folder, *names = self.number(record.a), *record.data.decode().split("\0")
        if folder not in self._folders:
            return
        if record.kind is Kind.CREATE:
            self._made += 1
            self._numbers[record.inode] = _OURS + self._made
            if record.b:
                self._folders.add(_OURS + self._made)
            else:
                self._files[_OURS + self._made] = File()
        number = self.number(record.inode)
        removed = None if record.kind in (Kind.CREATE, Kind.LINK) else (folder, names[0])
        made = None if record.kind is Kind.UNLINK else (folder, names[0])
        if record.kind is Kind.RENAME:
            made = (self.number(record.b), names[1])
        self._pending.append(NameChange(record.at, number, removed, made))

    def _sync(self, number: int, before: int) -> None:
        if number == 0:
            for file in self._files.values():
                file.settle(before)
            wanted = {change.at for change in self._pending if change.at < before}
        else:
            if number in self._files:
                self._files[number].settle(before)
            wanted = self._synced_names(number, before)
        for change in self._pending:
            if change.at in wanted:
                _change(self._names, change)
        self._pending = [change for change in self._pending if change.at not in wanted]

    def _synced_names(self, number: int, before: int) -> set[int]:
        """Which changes a sync makes durable: also those that the same names went through before."""
        wanted: set[int] = set()
        numbers, names = {number}, set[tuple[int, str]]()
        for change in reversed([one for one in self._pending if one.at < before]):
            names_its_folder = any(folder == number for folder, _ in change.names())
            names_it = change.made is not None and change.number in numbers
            if names_its_folder or names_it or not names.isdisjoint(change.names()):
                wanted.add(change.at)
                names.update(change.names())
                numbers.update(folder for folder, _ in change.names())
        return wanted

    def unsynced(self) -> int:
        """How many changes a power cut now may lose."""
        return len(self._pending) + sum(len(file.pending) for file in self._files.values())

    def crash(self, rng: random.Random) -> Image:
        """What a power cut now could leave."""
        choose = Chance(rng)
        names = dict(self._names)
        lost: set[tuple[int, str]] = set()
        lost_folders: set[int] = set()
        for change in self._pending:
            inside_lost = any(folder in lost_folders for folder, _ in change.names())
            if inside_lost or not lost.isdisjoint(change.names()) or not choose.name():
                lost.update(change.names())
                if change.made and change.removed is None:
                    lost_folders.add(change.number)
            else:
                _change(names, change)
        there = set(names.values())
        files = {number: file.crash(choose) for number, file in self._files.items() if number in there}
        return Image(names, files)


def _change(names: Names, change: NameChange) -> None:
    if change.removed:
        names.pop(change.removed, None)
    if change.made:
        names[change.made] = change.number


def _written(record: Record) -> Change:
    return Change(record.at, record.a, record.data, 0, cuts=False)


def _truncated(record: Record) -> Change:
    return Change(record.at, 0, b"", record.a, cuts=True)


def _extended(record: Record) -> Change:
    return Change(record.at, 0, b"", record.a, cuts=False)


_FILE_CHANGES: dict[Kind, Callable[[Record], Change]] = {
    Kind.WRITE: _written,
    Kind.TRUNCATE: _truncated,
    Kind.EXTEND: _extended,
}
