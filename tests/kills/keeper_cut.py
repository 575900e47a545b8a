"""Runs the requests to a safekeeper, killed or the power cut at every change of a file, also of its start. A
program, since it forks: no threads here.

    python -m tests.kills.keeper_cut HOW FOLDER

HOW is one of cut.py's. Prints a line of JSON: of each of `CASES` how many moments, and what was wrong.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper import keeper as keepers
from neon_compose.terms.history import History, TermStart
from neon_compose.wire.safekeeper import BranchStatus, EnrolQuery, Peer, starts_of
from tests.kills.cut import KILL, Disk, Moments, copied, in_child
from tests.unit.safekeeper.test_keeper import FIRST
from tests.unit.safekeeper.world import BRANCH, World

SIZE = 1 << 14
OLDEST = Lsn(SIZE * 5 + 100)
HEAD = b"h" * 100
WAL = b"a" * SIZE + b"b" * SIZE + b"c" * SIZE
START = Lsn(OLDEST.value + SIZE + 300)  # of the second term, where some is cut
FURTHER = Lsn(OLDEST.value + len(WAL) + 2 * SIZE)  # where some is missing
PASSWORD = "s3cret"


def first_history() -> History:
    return History((TermStart(1, OLDEST),))


def enrol(world: World) -> None:
    query = EnrolQuery.model_construct(
        identity=world.identity, promised=0, oldest=str(OLDEST), counts_from=0, timeline=1, segment_size=SIZE
    )
    world.service.enrol(BRANCH, query, HEAD)


def first_term(world: World) -> None:
    enrol(world)
    world.keeper.promise(1)
    world.keeper.adopt(first_history(), [])


def receive(world: World) -> None:
    world.keeper.receive(FIRST, PASSWORD)


def receiving(world: World) -> None:
    first_term(world)
    receive(world)
    world.receiver.arrive(WAL)
    assert world.status.flushed == str(Lsn(OLDEST.value + len(WAL)))


def promise(world: World) -> None:
    world.keeper.promise(2)


def stopped(world: World) -> None:
    receiving(world)
    world.keeper.stop_receiving()


def torn(world: World) -> None:
    """A power cut left some of what was being received after what was synced."""
    stopped(world)
    with world.receiver.segments.folder.partial(8).open("r+b") as file:
        file.seek(100 + 500)
        file.write(b"torn")


def committed(world: World) -> None:
    receiving(world)
    commit(world)


def commit(world: World) -> None:
    keepers._NOTE_S = 0.0
    world.status.flushed  # noqa: B018  # it is heard of
    world.keeper.commit(1, Lsn(START.value))


def adopt_the_end(world: World) -> None:
    world.keeper.adopt(first_history().then(2, Lsn(OLDEST.value + len(WAL))), [])


def adopt_shorter(world: World) -> None:
    world.keeper.adopt(first_history().then(2, START), [])


def adopt_longer(world: World) -> None:
    world.others["other"] = Further()
    peer = Peer(identity=str(Further.identity), host="other")
    world.keeper.adopt(first_history().then(2, FURTHER), [peer])


class Further:
    """Another safekeeper that received more of the first term."""

    identity = UUID(int=7)

    def branch(self, branch: UUID) -> BranchStatus:
        return BranchStatus(
            branch_id=str(branch),
            identity=str(self.identity),
            promised=1,
            term=1,
            history=starts_of(first_history()),
            oldest=str(OLDEST),
            flushed=str(FURTHER),
            committed=str(OLDEST),
            counts=True,
        )

    def wal(self, _: UUID, start: Lsn, end: Lsn) -> Iterator[bytes]:
        yield whole(end)[start.value - 5 * SIZE :]


def whole(upto: Lsn) -> bytes:
    """The WAL of the first term from its first segment on."""
    return (HEAD + WAL + b"d" * (2 * SIZE))[: upto.value - 5 * SIZE]


@dataclass(frozen=True)
class Case:
    """`fields` of the record may be as before or as after; else none changes. WAL may get shorter down to
    `floor`, and longer."""

    before: Callable[[World], None]
    request: Callable[[World], None]
    fields: frozenset[str] = field(default_factory=frozenset)
    floor: Lsn | None = None


CASES = {
    "start": Case(receiving, lambda _: None),
    "enrol": Case(lambda _: None, enrol),
    "promise": Case(receiving, promise, frozenset({"promised", "source"})),
    "receive": Case(first_term, receive, frozenset({"source"})),
    "stop": Case(receiving, lambda w: w.keeper.stop_receiving(), frozenset({"source"})),
    "commit": Case(receiving, commit, frozenset({"committed"})),
    "trim": Case(committed, lambda w: w.keeper.trim(START), frozenset({"oldest"})),
    "adopt": Case(stopped, adopt_shorter, frozenset({"promised", "history"}), START),
    "adopt over a torn tail": Case(torn, adopt_the_end, frozenset({"promised", "history"})),
    "adopt from a receiver": Case(
        receiving, adopt_shorter, frozenset({"promised", "history", "source"}), START
    ),
    "adopt more": Case(receiving, adopt_longer, frozenset({"promised", "history", "source"})),
    "delete": Case(receiving, lambda w: w.service.delete(BRANCH)),
}


def look(world: World) -> dict[str, Any]:
    """What a safekeeper knows and does; nothing, without the branch."""
    left = [path.name for path in (world.home / "volume" / "branches").iterdir() if path.name[0] == "."]
    assert left == [], left
    if BRANCH not in world.service._keepers:
        assert BRANCH not in world.service._damaged, world.service._damaged
        return {}
    keeper = world.keeper
    now, held = keeper.now, keeper._wal.segments.held()
    assert now.trouble is None, now.trouble
    assert held is not None
    member = now.live()
    folder = keeper._wal.segments.folder
    data = b"".join(folder.read(n) for n in range(folder.number(held.start), folder.number(held.limit)))
    size = member.flushed.value - held.start.value
    record = now.record
    return {
        "promised": record.promised,
        "history": str(record.history),
        "oldest": str(record.oldest),
        "committed": str(record.committed),
        "source": str(record.source),
        "receivers": [one.subject.term for one in world.receivers if one.state.condition.value != "stopped"],
        "begin": held.start.value,
        "wal": data[:size].hex(),
        "clean": not any(data[size:]),
    }


def started(root: Path) -> World:
    return World(root)


def run(case: Case, how: str, folder: Path) -> dict[str, Any]:
    template = folder / "template"

    def prepare() -> dict[str, Any]:
        world = started(template)
        case.before(world)
        return look(world)

    before = in_child(prepare)
    assert "error" not in before, before["error"]
    uncut = copied(template, folder / "uncut")

    def request() -> dict[str, Any]:
        moments = Moments()
        world = started(uncut)
        case.request(world)
        return {"count": moments.count, "after": look(world)}

    done = in_child(request)
    assert "error" not in done, done["error"]
    wrong: dict[int, str] = {}
    for number in range(1, done["count"] + 2):  # the last one is right after the request's end
        root = copied(template, folder / f"cut{number}")
        cut(case, root, how, number)
        finished = number > done["count"]
        answer = in_child(partial(judge, case, root, before, done["after"], finished))
        if answer:
            wrong[number] = answer if isinstance(answer, str) else answer["error"]
        shutil.rmtree(root)
    return {"moments": done["count"], "wrong": wrong}


def cut(case: Case, root: Path, how: str, number: int) -> None:
    survivors = root.with_name("survivors")

    def work() -> None:
        disk = Disk(root) if how != KILL else None
        moments = Moments(number, lambda: disk.survivors(survivors, how) if disk else None)
        case.request(started(root))
        moments.die()

    assert in_child(work) is None
    if how != KILL:
        shutil.rmtree(root)
        survivors.rename(root)


def judge(case: Case, root: Path, before: dict[str, Any], after: dict[str, Any], finished: bool) -> str:
    """What the next process finds is as before or as after, or between; repeated, the request is done."""
    world = started(root)
    now = look(world)
    if finished and told(now) != told(after):
        return f"what had returned was lost: {differences(now, after)}"
    if complaint := between(case, before, now, after):
        return complaint
    case.request(world)
    if (again := look(world)) != after:
        return f"a repeat does not finish it: {differences(again, after)}"
    return ""


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Without what a start takes away: bytes after the end are cleared by the next term."""
    return {name: value for name, value in found.items() if name != "clean"}


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    return "; ".join(
        f"{name} {str(found.get(name))[:80]}, not {str(wanted.get(name))[:80]}" for name in names
    )


def between(case: Case, before: dict[str, Any], now: dict[str, Any], after: dict[str, Any]) -> str:
    if not now or not before or not after:
        return "" if now in (before, after) else f"neither: {now}"
    for name in ("promised", "history", "oldest", "committed", "source"):
        there = {before[name], after[name]} if name in case.fields else {before[name]}
        if now[name] not in there:
            return f"{name} is {now[name]}"
    if now["promised"] == 2 and 1 in now["receivers"]:
        return "a receiver of an older term"
    if now["history"] == after["history"] != before["history"] and not now["clean"]:
        return "another term's bytes after the end of the new one's WAL"
    known = whole(FURTHER)[now["begin"] - 5 * SIZE :].hex()
    floor = (case.floor.value if case.floor else 5 * SIZE + len(HEAD + WAL)) - now["begin"]
    if before["history"] == "()" or case.before is first_term:
        floor = 0
    if not known.startswith(now["wal"]) or len(now["wal"]) // 2 < floor:
        return f"WAL of {len(now['wal']) // 2} bytes"
    return ""


if __name__ == "__main__":
    answers = {}
    for index, (title, one) in enumerate(CASES.items()):
        (Path(sys.argv[2]) / str(index)).mkdir()
        answers[title] = run(one, sys.argv[1], Path(sys.argv[2]) / str(index))
    print(json.dumps(answers))
