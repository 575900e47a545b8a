"""Runs the changes of a folder of segments, killed or the power cut at every change of a file. A program,
since it forks: no threads here.

    python -m tests.kills.segments_cut HOW FOLDER

HOW is one of cut.py's. Prints a line of JSON: of each of `CASES` how many moments, and what was wrong.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.segments import Segments
from tests.kills.cut import KILL, Disk, Moments, copied, in_child
from tests.unit.safekeeper.test_segments import FIRST, SIZE, at, receive, wal

START = at(FIRST + 1, 300)
BOUNDARY = at(FIRST + 2)
END = at(FIRST + 4, 200)
LONGER = at(FIRST + 6, 100)
SEED = wal(FIRST * SIZE, FIRST * SIZE + 100)


def nothing(_: Segments) -> None:
    pass


def seed(segments: Segments) -> None:
    segments.seed(at(FIRST, 100), SEED)


def fill(segments: Segments) -> None:
    seed(segments)
    receive(segments, END)


def fill_to_boundary(segments: Segments) -> None:
    """The receiver died before it renamed its last segment, which is full."""
    seed(segments)
    receive(segments, BOUNDARY)
    segments.folder.partial(FIRST + 2).unlink(missing_ok=True)
    segments.folder.complete(FIRST + 1).rename(segments.folder.partial(FIRST + 1))


def damage(segments: Segments) -> None:
    fill(segments)
    segments.folder.complete(FIRST + 2).write_bytes(bytes(SIZE))


def begin_segment(segments: Segments) -> None:
    """The receiver died as it filled a new segment with zeros."""
    seed(segments)
    receive(segments, BOUNDARY)
    segments.folder.partial(FIRST + 2).write_bytes(bytes(SIZE // 3))


def extend(segments: Segments) -> None:
    """Goes on from where it came to, as the walk would say."""
    held = segments.held()
    assert held is not None
    last = segments.folder.last_byte(held.start, segments.folder.number(held.limit) - 1)
    segments.extend(last, wal(last.value, LONGER.value))


@dataclass(frozen=True)
class Case:
    """`unharmed` says whether that may be there, beside what was before and what is after."""

    before: Callable[[Segments], None]
    change: Callable[[Segments], None]
    unharmed: Callable[[bytes, bytes], bool]


def prefix_with(start: Lsn) -> Callable[[bytes, bytes], bool]:
    """What was there before, less of its end but not less than up to the start: no other byte, no gap."""

    def unharmed(before: bytes, now: bytes) -> bool:
        return before.startswith(now) and len(now) >= start.value - FIRST * SIZE

    return unharmed


def never(_before: bytes, _now: bytes) -> bool:
    return False


def longer(before: bytes, now: bytes) -> bool:
    """What was there, and of what was to be appended a part without a gap."""
    return now.startswith(before) and wal(FIRST * SIZE, LONGER.value).startswith(now)


def shorter(before: bytes, now: bytes) -> bool:
    """The end of what was there."""
    return before.endswith(now) and len(now) % SIZE == len(before) % SIZE


CASES = {
    "seed": Case(nothing, seed, never),
    "adopt": Case(fill, lambda segments: segments.adopt(START), prefix_with(START)),
    "adopt a boundary": Case(fill, lambda segments: segments.adopt(BOUNDARY), prefix_with(BOUNDARY)),
    "adopt the end": Case(fill, lambda segments: segments.adopt(END), never),
    "adopt after a full one": Case(fill_to_boundary, lambda s: s.adopt(BOUNDARY), never),
    "extend": Case(fill, extend, longer),
    "extend from a boundary": Case(fill_to_boundary, extend, longer),
    "replace": Case(
        damage, lambda s: s.replace(FIRST + 2, wal(at(FIRST + 2).value, at(FIRST + 3).value)), never
    ),
    "trim": Case(fill, lambda segments: segments.trim(END) and None, shorter),
    "settle": Case(begin_segment, nothing, never),
}


def content(segments: Segments) -> bytes:
    """The WAL that is there without the zeros after it: what a receiver or a reader would take for it. A gap,
    two names of one segment, a wrong size are errors."""
    held = segments.held()
    if held is None:
        return b""
    first, last = segments.folder.number(held.start), segments.folder.number(held.limit) - 1
    segments._present()
    data = b"".join(segments.folder.read(number) for number in range(first, last + 1))
    if any(path.suffix != ".partial" for n, path in segments.folder.files().items() if n == last):
        return data
    return data.rstrip(b"\0")


def run(case: Case, how: str, folder: Path) -> dict[str, Any]:
    template = folder / "template"

    def prepare() -> dict[str, Any]:
        with Segments.open(template, 1, SIZE) as segments:
            case.before(segments)
            return {"content": content(segments).hex()}

    before = bytes.fromhex(in_child(prepare)["content"])
    whole = copied(template, folder / "whole")

    def uncut() -> dict[str, Any]:
        moments = Moments()
        with Segments.open(whole, 1, SIZE) as segments:
            case.change(segments)
            return {"count": moments.count, "content": content(segments).hex()}

    done = in_child(uncut)
    assert "error" not in done, done["error"]
    after = bytes.fromhex(done["content"])
    wrong: dict[int, str] = {}
    for number in range(1, done["count"] + 2):  # the last one is right after the change's end
        root = copied(template, folder / f"cut{number}")
        cut(case, root, how, number)
        finished = number > done["count"]
        found = in_child(lambda r=root, f=finished: look(case, r, before, after, f))
        if found:
            wrong[number] = found
        shutil.rmtree(root)
    return {"moments": done["count"], "wrong": wrong}


def cut(case: Case, root: Path, how: str, number: int) -> None:
    survivors = root.with_name("survivors")

    def work() -> None:
        disk = Disk(root) if how != KILL else None
        moments = Moments(number, lambda: disk.survivors(survivors, how) if disk else None)
        with Segments.open(root, 1, SIZE) as segments:  # which is a change too: it settles
            case.change(segments)
            moments.die()

    assert in_child(work) is None
    if how != KILL:
        shutil.rmtree(root)
        survivors.rename(root)


def look(case: Case, root: Path, before: bytes, after: bytes, finished: bool) -> Any:
    """What is there is as before or after, or something between that does no harm; repeated, it is done."""
    with Segments.open(root, 1, SIZE) as segments:
        now = content(segments)
        if finished and now != after:
            return "what had returned was lost"
        if now not in (before, after) and not case.unharmed(before, now):
            return f"{len(now)} bytes, with {len(before)} before and {len(after)} after"
        case.change(segments)
        if content(segments) != after:
            return "a repeat does not finish it"
        sizes = {path.stat().st_size for _, _, path in segments.folder.names()}
        if sizes != {SIZE}:
            return f"segments of {sizes} bytes"
        leftovers = [path.name for path in root.iterdir() if path.name.endswith(".aside")]
        return f"left over: {leftovers}" if leftovers else ""


if __name__ == "__main__":
    answers = {}
    for number, (name, one) in enumerate(CASES.items()):
        (Path(sys.argv[2]) / str(number)).mkdir()
        answers[name] = run(one, sys.argv[1], Path(sys.argv[2]) / str(number))
    print(json.dumps(answers))
