"""The cases of test_wal.py, inside a container of the pageserver's image:

    python -m tests.wal.inside FOLDER SMALL ROUNDS SEED [CASE...]

FOLDER is empty, SMALL a file system of its own with little room. Prints one line of JSON: what went wrong in
which case, None where nothing did.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg

from neon_compose import wait
from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import PAGE
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Stop, find_time, normalise, walk
from neon_compose.safekeeper.receiver import Condition, Receiver
from neon_compose.safekeeper.segments import Segments
from tests.wal.server import (
    SEGMENT,
    SUBJECT,
    V17,
    Server,
    Template,
    await_condition,
    receiving,
    rows_replayed,
)

STANDBY = f'ANY 1 ("{SUBJECT.name}")'
INSERT = "INSERT INTO t SELECT n, repeat('x', 700) FROM generate_series({0}, {1}) n"


@dataclass
class Place:
    template: Template
    home: Path
    small: Path
    rounds: int
    rng: random.Random

    def server(self, name: str = "primary") -> Server:
        return Server(self.template, self.home / name)


def raises(kind: type[Exception], call: Callable[[], object], *words: str) -> None:
    try:
        found = call()
    except kind as error:
        said = f"{error} {getattr(error, 'detail', '')}"
        assert all(word in said for word in words), said
    else:
        raise AssertionError(f"no {kind.__name__}, but {found}")


def end_of(place: Place, segments: Segments) -> Lsn:
    """Where the WAL in the segments ends, as a member says it after a crash."""
    segments.settle()
    held = segments.held()
    assert held is not None
    return walk(V17, segments.folder, place.template.redo, known=max(held.whole, place.template.start)).end


def await_flushed(receiver: Receiver, lsn: Lsn) -> None:
    wait.until(f"{lsn} to be flushed", lambda: (receiver.flushed() or Lsn(0)) >= lsn, wait.Deadline.after(20))


# ---- cases: the receiver


def commits_are_acknowledged_only_while_the_receiver_runs(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    with receiving(segments, server) as receiver:
        server.sql(INSERT.format(1, 10))
        assert (receiver.flushed() or Lsn(0)) > place.template.start
    assert receiver.state.condition is Condition.STOPPED
    assert receiver.flushed() is None
    done = threading.Event()

    def commit() -> None:
        with suppress(psycopg.Error):
            server.sql(INSERT.format(11, 11))
            done.set()

    thread = threading.Thread(target=commit)
    thread.start()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    wait.until("the commit to wait", lambda: bool(server.sql(waiting)), wait.Deadline.after(20))
    assert not done.wait(0.5)
    with receiving(segments, server):
        thread.join(20)
    assert done.is_set()
    server.kill()
    found = rows_replayed(place.template, segments, end_of(place, segments), place.home / "replay")
    assert found == set(range(1, 12)), found


def every_acknowledged_row_outlives_kills_of_receiver_and_primary(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    receiver.start()
    acknowledged: set[int] = set()
    begun = 0
    over = threading.Event()

    def write() -> None:
        nonlocal begun
        while not over.is_set():
            try:
                with server.connect() as session:
                    while not over.is_set():
                        begun += 1
                        number = begun
                        filler = "x" * place.rng.choice((10, 3000, 30_000))
                        session.execute("INSERT INTO t VALUES (%s, %s)", (number, filler))
                        acknowledged.add(number)
            except psycopg.Error:
                over.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    kills = {"receiver": 0, "primary": 0}
    for number in range(place.rounds):
        before = len(acknowledged)
        wait.until("new rows", lambda: len(acknowledged) > before + 5, wait.Deadline.after(30))  # noqa: B023
        time.sleep(place.rng.random() / 5)  # the moment is a matter of chance
        victim = place.rng.choice(("receiver", "primary", "both"))
        if victim != "primary":
            process = receiver._process
            if process is not None:
                process.send_signal(signal.SIGKILL)
                kills["receiver"] += 1
        if victim != "receiver":
            server.kill()
            kills["primary"] += 1
            settled = set(acknowledged)
            if number % 3 == 0:
                receiver.stop()
                found = rows_replayed(
                    place.template, segments, end_of(place, segments), place.home / f"replay{number}"
                )
                assert settled <= found, sorted(settled - found)
                receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
                receiver.start()
            server.start_primary(standbys=STANDBY)
    wait.until("rows after it all", lambda: len(acknowledged) > before + 5, wait.Deadline.after(30))
    over.set()
    server.kill()
    writer.join()
    receiver.stop()
    found = rows_replayed(place.template, segments, end_of(place, segments), place.home / "replay")
    assert acknowledged <= found, sorted(acknowledged - found)
    assert found <= set(range(1, begun + 1))
    assert min(kills.values()) > 0, kills
    print(f"{len(acknowledged)} rows, kills {kills}", file=sys.stderr)


def a_stale_tail_after_the_start_of_a_term_is_not_replayed(place: Place) -> None:
    """With the tail of three segments left in place, it is: the test can fail."""
    old, segments = place.server("old"), place.template.seeded(place.home / "wal")
    old.start_primary()
    with receiving(segments, old) as receiver:
        old.sql(INSERT.format(1, 10))
        start = old.lsn()
        old.sql(INSERT.format(11, 4000))
        await_flushed(receiver, old.lsn())
    end = end_of(place, segments)
    assert end.value - start.value > 2 * SEGMENT
    found = rows_replayed(place.template, segments, end, place.home / "uncut")
    assert found == set(range(1, 4001))
    old.kill()

    segments.adopt(start)
    assert end_of(place, segments) == start
    limit = segments.held().limit  # type: ignore[union-attr]
    assert rows_replayed(place.template, segments, limit, place.home / "cut") == set(range(1, 11))

    new = Server(place.template, place.home / "new")
    new.open_at(place.template, segments, start)
    subject = replace(SUBJECT, term=2)
    new.start_primary(term=2)
    with receiving(segments, new, subject) as receiver:
        new.sql("INSERT INTO t VALUES (5000, '')")
        await_flushed(receiver, new.lsn())
    new.kill()
    held = segments.held()
    assert held is not None
    found = rows_replayed(place.template, segments, held.limit, place.home / "after")
    assert found == {*range(1, 11), 5000}, found


def a_receiver_refuses_another_branch_or_term(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    other = UUID("01900000-0000-7000-8000-00000000000c")
    before = segments.folder.read(segments.folder.number(place.template.start))
    for subject in (replace(SUBJECT, branch=other), replace(SUBJECT, term=2), replace(SUBJECT, term=0)):
        receiver = Receiver(V17, segments, subject, server.primary, place.home / "said")
        receiver.start()
        await_condition(receiver, Condition.REFUSED)
        receiver.stop()
        assert receiver.state.condition is Condition.STOPPED
    assert server.sql("SELECT slot_name FROM pg_replication_slots") == []
    assert segments.folder.read(segments.folder.number(place.template.start)) == before
    server.kill()
    server.start()  # it has no branch and no term at all
    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    receiver.start()
    await_condition(receiver, Condition.REFUSED)
    receiver.stop()
    server.kill()


def a_server_that_took_the_address_since_is_not_received_from(place: Place) -> None:
    """pg_receivewal, started after the verification, meets a server without this term's slot."""
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(term=2)
    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    process = receiver._spawn()
    assert process is not None
    assert process.wait(20) != 0
    assert "replication slot" in (place.home / "said").read_text()
    receiver.stop()
    server.kill()


def a_full_disk_stops_acknowledgements_until_there_is_room(place: Place) -> None:
    server = place.server()
    segments = place.template.seeded(place.small / "wal")
    ballast = place.small / "ballast"
    free = shutil.disk_usage(place.small).free
    ballast.write_bytes(bytes(free - SEGMENT * 3 // 2))
    server.start_primary(standbys=STANDBY)
    done = threading.Event()

    def commit() -> None:
        with server.connect() as session:
            for number in range(1, 400):
                session.execute("INSERT INTO t VALUES (%s, repeat('x', 9000 ))", (number,))
                session.execute("SELECT pg_switch_wal()" if number % 50 == 0 else "SELECT 1")
        done.set()

    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    receiver.start()
    writer = threading.Thread(target=commit)
    writer.start()
    await_condition(receiver, Condition.DISK_FULL)
    trouble = receiver.state.trouble
    assert trouble is not None
    assert trouble.code == "disk_full", trouble
    assert not done.is_set()
    ballast.unlink()
    wait.until(
        "the writer to end", done.is_set, wait.Deadline.after(40), last_words=lambda: str(receiver.state)
    )
    writer.join()
    receiver.stop()
    server.kill()
    found = rows_replayed(place.template, segments, end_of(place, segments), place.home / "replay")
    assert found == set(range(1, 400))


def a_receiver_dies_with_its_supervisor(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    segments.close()
    server.start_primary(standbys=STANDBY)
    script = (
        "import sys, time; from pathlib import Path\n"
        "from neon_compose.safekeeper.segments import Segments\n"
        "from neon_compose.safekeeper.receiver import *\n"
        "from tests.wal.server import *\n"
        "segments = Segments.open(Path(sys.argv[1]), 1, SEGMENT)\n"
        "primary = Primary(sys.argv[2], PORT, ADMIN)\n"
        "Receiver(V17, segments, SUBJECT, primary, Path(sys.argv[3])).start(); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(place.home / "wal"), str(server.home), str(place.home / "s")]
    with subprocess.Popen(command) as supervisor:
        server.sql(INSERT.format(1, 10))  # returns once it is received
        raises(Conflict, lambda: Segments.open(place.home / "wal", 1, SEGMENT), "in use")
        supervisor.kill()

    def free() -> Segments | None:
        try:
            return Segments.open(place.home / "wal", 1, SEGMENT)
        except Conflict:
            return None

    again = wait.until("the folder to be free", free, wait.Deadline.after(10))
    server.kill()
    found = rows_replayed(place.template, again, end_of(place, again), place.home / "replay")
    assert found == set(range(1, 11))
    again.close()


def wal_that_the_primary_no_longer_has_is_said_to_be_gone(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(wal_keep_size="0")
    for _ in range(4):
        server.sql(INSERT.format("(SELECT count(*) + 1 FROM t)", "(SELECT count(*) + 500 FROM t)"))
        server.sql("SELECT pg_switch_wal()", "CHECKPOINT")
    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    receiver.start()
    await_condition(receiver, Condition.WAL_GONE)
    receiver.stop()
    kept = WalFolder(server.pgdata / "pg_wal", 1, SEGMENT).files()
    assert segments.folder.number(place.template.start) not in kept
    server.kill()


# ---- cases: the walk


def received(place: Place, rows: int = 3000) -> tuple[Segments, Lsn, list[Lsn]]:
    """Segments with some WAL, its end, and where some commits ended."""
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary()
    ends = []
    with receiving(segments, server) as receiver:
        for first in range(1, rows, 500):
            server.sql(INSERT.format(first, first + 499))
            ends.append(server.lsn())
        await_flushed(receiver, ends[-1])
    server.kill()
    return segments, end_of(place, segments), ends


def copied(place: Place, segments: Segments, name: str) -> WalFolder:
    target = place.home / name
    shutil.copytree(segments.folder.path, target)
    return replace(segments.folder, path=target)


def change(wal: WalFolder, lsn: Lsn, data: bytes) -> None:
    path = wal.files()[wal.number(lsn)]
    with path.open("r+b") as file:
        file.seek(lsn.value % SEGMENT)
        file.write(data)


def flipped(wal: WalFolder, lsn: Lsn) -> bytes:
    return bytes([wal.read(wal.number(lsn))[lsn.value % SEGMENT] ^ 0x40])


def a_walk_ends_where_the_wal_does(place: Place) -> None:
    segments, end, ends = received(place)
    wal, redo = segments.folder, place.template.redo
    walked = walk(V17, wal, redo, known=ends[-1])
    assert walked.stop is Stop.ZEROS, walked
    assert walked.end == end >= ends[-1]
    assert walk(V17, wal, end) == replace(walked, said="")  # nothing follows
    assert walk(V17, wal, ends[0], known=end).end == end  # from the middle
    for lsn in ends:
        assert normalise(V17, wal, redo, lsn) == lsn
        assert walk(V17, wal, redo, upto=lsn).stop is Stop.BOUND
        before = normalise(V17, wal, redo, Lsn(lsn.value - 8))
        assert before < lsn
        assert normalise(V17, wal, redo, before) == before
        assert walk(V17, wal, before, known=end).end == end
    first = normalise(V17, wal, redo, ends[0])
    inside = Lsn(first.value + 16)
    assert normalise(V17, wal, first, inside) == first  # the first record is not whole there
    raises(Invalid, lambda: walk(V17, wal, inside), "no WAL record begins")


def a_folder_is_walked_and_read_while_it_is_filled(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    over, looks = threading.Event(), 0
    end = start = place.template.start
    read: dict[str, bytes] = {}

    def write() -> None:
        for first in range(1, 12_000, 300):
            server.sql(INSERT.format(first, first + 299))
        over.set()

    with receiving(segments, server) as receiver:
        writer = threading.Thread(target=write)
        writer.start()
        while not over.is_set():
            flushed, held = receiver.flushed() or start, segments.held()
            assert held is not None
            walked = walk(V17, segments.folder, start, known=max(held.whole, end))
            assert walked.end >= end
            end, looks = walked.end, looks + 1
            read = dict(segments.read(start, max(flushed, start)))
            if looks == 3:
                segments.trim(start)
        writer.join()
        await_flushed(receiver, server.lsn())
    server.kill()
    assert looks > 5, looks
    assert segments.held().whole.value - start.value > 4 * SEGMENT  # type: ignore[union-attr]
    final = dict(segments.read(start, end_of(place, segments)))
    for name, data in list(read.items())[:-1]:
        assert data == final[name], name
    last = list(read)[-1]
    assert final[last].startswith(read[last].rstrip(b"\0"))
    print(f"{looks} looks", file=sys.stderr)


def a_switch_of_segments_is_no_end(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary()
    with receiving(segments, server) as receiver:
        server.sql(INSERT.format(1, 10), "SELECT pg_switch_wal()")
        server.sql(INSERT.format(11, 20))
        await_flushed(receiver, server.lsn())
        switched = server.sql("SELECT pg_switch_wal()")[0][0]
        held = wait.until(
            "the segment to be complete",
            lambda: (seen := segments.held()) and seen.whole >= Lsn.parse(str(switched)) and seen,
            wait.Deadline.after(20),
        )
    server.kill()
    assert end_of(place, segments) >= held.whole
    walked = walk(V17, segments.folder, place.template.redo, upto=held.whole)
    assert walked.end == held.whole
    assert walked.stop is Stop.BOUND


def a_flipped_byte_is_never_the_end_of_what_is_known(place: Place) -> None:
    segments, end, ends = received(place)
    redo = place.template.redo
    held = segments.held()
    assert held is not None
    places = [place.rng.randrange(redo.value, held.whole.value) for _ in range(25)]
    places += [place.rng.randrange(held.whole.value, ends[-1].value) for _ in range(5)]
    places += [held.whole.value - PAGE, held.whole.value - PAGE + 2, ends[-1].value - 8]
    for number, at in enumerate(places):
        lsn = Lsn(at)
        wal = copied(place, segments, f"flipped{number}")
        change(wal, lsn, flipped(wal, lsn))
        try:
            walked = walk(V17, wal, redo, known=ends[-1])
        except Corrupt as error:
            named = wal.name(wal.number(lsn))[:23] in error.message and " at " in error.message
        else:  # the padding after a record, a page header's padding
            named = walked.end == end and walked.stop is Stop.ZEROS
        assert named, lsn
        shutil.rmtree(wal.path)
    wal = copied(place, segments, "record")
    inside = Lsn(ends[1].value + 100)
    change(wal, inside, flipped(wal, inside))
    begun = normalise(V17, segments.folder, redo, inside)
    name = wal.name(wal.number(begun))
    raises(Corrupt, lambda: walk(V17, wal, redo, known=ends[-1]), name, f"damaged at {begun}")
    raises(Corrupt, lambda: walk(V17, wal, redo, known=held.whole), name, f"damaged at {begun}")
    walked = walk(V17, wal, redo)  # nothing is known of it
    assert walked.end == begun
    assert walked.stop is Stop.BROKEN, walked


def a_record_cut_off_by_the_end_is_told_from_a_bad_one(place: Place) -> None:
    segments, _, ends = received(place, 600)
    redo, number = place.template.redo, 0
    begun = {lsn: normalise(V17, segments.folder, redo, Lsn(lsn.value - 8)) for lsn in ends}
    for lsn in ends:
        for keep in (4, 8, 24):
            number += 1
            wal = copied(place, segments, f"cut{number}")
            cut = Lsn(begun[lsn].value + keep)
            zero_after(wal, cut)
            walked = walk(V17, wal, redo, known=begun[lsn])
            assert walked.end == begun[lsn], (cut, walked)
            assert walked.stop is Stop.CUT, (cut, walked)
            raises(Corrupt, lambda w=wal, k=lsn: walk(V17, w, redo, known=k), "damaged")  # type: ignore[misc]
    for page in range(redo.value // PAGE + 1, ends[-1].value // PAGE):
        number += 1
        wal = copied(place, segments, f"cut{number}")
        lsn = Lsn(page * PAGE)
        zero_after(wal, lsn)
        walked = walk(V17, wal, redo, known=lsn)  # a page that was flushed whole, a record going over its end
        assert walked.stop is (Stop.ZEROS if walked.end == lsn else Stop.CUT), walked
        assert walked.end == normalise(V17, segments.folder, redo, lsn)
        shutil.rmtree(wal.path)


def zero_after(wal: WalFolder, lsn: Lsn) -> None:
    for number, path in wal.files().items():
        keep = lsn.value - wal.begin(number).value
        if keep < SEGMENT:
            path.write_bytes(path.read_bytes()[: max(keep, 0)].ljust(SEGMENT, b"\0"))


def wal_that_ends_with_its_last_segment_is_no_damage(place: Place) -> None:
    """The receiver died as it made the next one: a record goes on that isn't there."""
    segments, _, _ = received(place)
    held, redo = segments.held(), place.template.redo
    assert held is not None
    wal = copied(place, segments, "whole")
    wal.partial(wal.number(held.whole)).unlink()
    walked = walk(V17, wal, redo, known=held.whole)
    assert walked.stop in (Stop.CUT, Stop.BOUND), walked
    assert walked.end == normalise(V17, segments.folder, redo, held.whole)
    last = walk(V17, wal, walked.end, known=held.whole)  # also if that record is the first one looked at
    assert last.end == walked.end
    wal.partial(wal.number(held.whole)).write_bytes(bytes(SEGMENT // 2))  # it was being filled
    assert walk(V17, wal, redo, known=held.whole).end == walked.end


def a_missing_or_short_segment_is_named(place: Place) -> None:
    segments, end, ends = received(place)
    redo = place.template.redo
    numbers = list(segments.folder.files())
    assert len(numbers) >= 3
    for number in numbers:
        wal = copied(place, segments, f"without{number}")
        wal.files()[number].unlink()
        raises(Corrupt, lambda w=wal: walk(V17, w, redo, known=ends[-1]), wal.name(number), "missing")  # type: ignore[misc]
    for number in numbers:
        wal = copied(place, segments, f"short{number}")
        path = wal.files()[number]
        path.write_bytes(path.read_bytes()[: SEGMENT // 3])
        raises(Corrupt, lambda w=wal: walk(V17, w, redo, known=end), wal.name(number))  # type: ignore[misc]


def a_time_is_where_no_later_commit_is_included(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(max_prepared_transactions="2", track_commit_timestamp="on")
    times: list[datetime] = []
    with receiving(segments, server) as receiver:
        for number in range(1, 9):
            server.sql("BEGIN", f"INSERT INTO t VALUES ({number}, '')", "PREPARE TRANSACTION 'p'")
            server.sql("COMMIT PREPARED 'p'")
            found = server.sql(f"SELECT pg_xact_commit_timestamp(xmin) FROM t WHERE n = {number}")[0][0]
            assert isinstance(found, datetime)
            times.append(found)
        end = server.lsn()
        await_flushed(receiver, end)
    server.kill()
    wal, redo = segments.folder, place.template.redo
    end = end_of(place, segments)
    tick = timedelta(microseconds=1)
    for number, moment in enumerate(times, 1):
        for at, rows in ((moment, number), (moment - tick, number - 1)):
            answer = find_time(V17, wal, redo, end, at)
            assert answer.first == times[0]
            if answer.lsn is None:
                assert rows == len(times)
                assert answer.last == times[-1]
                continue
            assert normalise(V17, wal, redo, answer.lsn) == answer.lsn
            home = place.home / f"at{number}-{rows}"
            if number in (1, 4, 8):
                assert rows_replayed(place.template, segments, answer.lsn, home) == set(range(1, rows + 1))
    wal = copied(place, segments, "flipped")
    middle = find_time(V17, wal, redo, end, times[4]).lsn
    assert middle is not None
    bad = Lsn(middle.value - 40)
    change(wal, bad, flipped(wal, bad))
    raises(Corrupt, lambda: find_time(V17, wal, redo, end, times[-1]), "damaged")


CASES = [
    commits_are_acknowledged_only_while_the_receiver_runs,
    every_acknowledged_row_outlives_kills_of_receiver_and_primary,
    a_stale_tail_after_the_start_of_a_term_is_not_replayed,
    a_receiver_refuses_another_branch_or_term,
    a_server_that_took_the_address_since_is_not_received_from,
    a_full_disk_stops_acknowledgements_until_there_is_room,
    a_receiver_dies_with_its_supervisor,
    wal_that_the_primary_no_longer_has_is_said_to_be_gone,
    a_walk_ends_where_the_wal_does,
    a_folder_is_walked_and_read_while_it_is_filled,
    a_switch_of_segments_is_no_end,
    a_flipped_byte_is_never_the_end_of_what_is_known,
    a_record_cut_off_by_the_end_is_told_from_a_bad_one,
    wal_that_ends_with_its_last_segment_is_no_damage,
    a_missing_or_short_segment_is_named,
    a_time_is_where_no_later_commit_is_included,
]


def main(home: Path, small: Path, rounds: int, seed: int, names: list[str]) -> dict[str, str | None]:
    (home / "template").mkdir(mode=0o700)
    template = Template(home / "template")
    wrong: dict[str, str | None] = {}
    for case in CASES:
        if names and case.__name__ not in names:
            continue
        folder = home / case.__name__[:40]
        folder.mkdir(mode=0o700)
        began = wait.monotonic_s()
        try:
            case(Place(template, folder, small, rounds, random.Random(seed)))
            wrong[case.__name__] = None
        except BaseException:
            wrong[case.__name__] = traceback.format_exc()
        print(f"{wait.monotonic_s() - began:.1f} s {case.__name__}", file=sys.stderr)
    return wrong


if __name__ == "__main__":
    folder_, small_, rounds_, seed_, *names_ = sys.argv[1:]
    print(json.dumps(main(Path(folder_), Path(small_), int(rounds_), int(seed_), names_)))
