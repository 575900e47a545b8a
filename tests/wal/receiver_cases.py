"""Receivers, with primaries that are killed, frozen out, taken for others. Run by inside.py."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg

from neon_compose import wait
from neon_compose.errors import Conflict
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.server import ADMIN
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.safekeeper.condition import Condition
from neon_compose.safekeeper.receiver import Receiver
from neon_compose.safekeeper.segments import Segments
from tests.wal.place import INSERT, STANDBY, Place, await_flushed, end_of, raises
from tests.wal.server import (
    PORT,
    SEGMENT,
    SUBJECT,
    V17,
    Server,
    await_condition,
    receiving,
    rows_replayed,
)


def commits_are_acknowledged_only_while_the_receiver_runs(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    with receiving(segments, server) as receiver:
        server.sql(INSERT.format(1, 10))
        assert (receiver.flushed() or Lsn(0)) > place.template.start
        process = receiver._process
        assert process is not None
        assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER
        held = [str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert str(segments.folder.path / ".lock") in held, held  # it keeps the folder's lock
    assert process.returncode is not None
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


def what_is_expected_has_its_slot_and_writes_nothing_before_it_is_wanted(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    content = {path.name: path.read_bytes() for path in segments.folder.path.glob("0*")}
    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    receiver.expect()
    slots = "SELECT 1 FROM pg_replication_slots"
    wait.until("the slot", lambda: bool(server.sql(slots)), wait.Deadline.after(20))
    time.sleep(0.3)  # nothing is to happen
    assert receiver.state.condition is Condition.STOPPED
    assert not server.sql("SELECT 1 FROM pg_stat_replication")
    assert content == {path.name: path.read_bytes() for path in segments.folder.path.glob("0*")}
    receiver.start()
    server.sql(INSERT.format(1, 10))  # acknowledged
    await_flushed(receiver, server.lsn())
    receiver.stop()
    forgotten = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    forgotten.expect()
    forgotten.stop()
    wait.until("its end", lambda: not forgotten._thread.is_alive(), wait.Deadline.after(20))


def a_receiver_whose_session_was_ended_still_knows_what_it_has_flushed(place: Place) -> None:
    """As by who ends all sessions of a database, which spares the stream."""
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    others = "FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
    end_all = f"SELECT pg_terminate_backend(pid, 5000) {others}"
    with receiving(segments, server) as receiver:
        process = receiver._process
        for n in range(3):
            server.sql(end_all, INSERT.format(n, n))
            assert (receiver.flushed() or Lsn(0)) >= flushed_by(server)
        assert receiver._process is process
        elsewhere = psycopg.connect(host=str(server.home), port=PORT, user=ADMIN, dbname="template1")
        with elsewhere as session:
            session.autocommit = True
            session.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
            session.execute(end_all.encode())
            assert receiver.flushed() is None
            await_condition(receiver, Condition.UNREACHABLE)
            reason = "not currently accepting connections"
            wait.until(reason, lambda: reason in trouble_of(receiver), wait.Deadline.after(20))
            assert receiver.has_ended
            session.execute("SET synchronous_commit = local")
            session.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")
            receiver.nudge()
            await_condition(receiver, Condition.RECEIVING)
        server.sql(INSERT.format(9, 9))
        assert (receiver.flushed() or Lsn(0)) >= flushed_by(server)
    server.kill()


def trouble_of(receiver: Receiver) -> str:
    trouble = receiver.state.trouble
    return trouble.detail if trouble else ""


def flushed_by(server: Server) -> Lsn:
    return Lsn.parse(str(server.sql("SELECT flush_lsn FROM pg_stat_replication")[0][0]))


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
        assert receiver._process is not None  # no commit waits for it: it gives way
        assert os.sched_getscheduler(receiver._process.pid) == os.SCHED_BATCH
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


def a_primary_that_lost_wal_does_not_come_over_what_was_received(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(standbys=STANDBY)
    with receiving(segments, server):
        server.sql(INSERT.format(1, 10))
    server.kill()
    shutil.copytree(server.pgdata, place.home / "old")
    server.start_primary(standbys=STANDBY)
    with receiving(segments, server) as receiver:
        server.sql(INSERT.format(11, 20))
        await_flushed(receiver, server.lsn())
    server.kill()
    shutil.rmtree(server.pgdata)
    (place.home / "old").rename(server.pgdata)
    received = {path.name: path.read_bytes() for path in segments.folder.path.glob("0*")}
    server.start_primary(standbys="")  # nobody waits for it here, as it is behind
    receiver = Receiver(V17, segments, SUBJECT, server.primary, place.home / "said")
    receiver.start()
    await_condition(receiver, Condition.REFUSED)
    assert "less WAL" in (receiver.state.trouble.message if receiver.state.trouble else "")
    receiver.stop()
    assert {path.name: path.read_bytes() for path in segments.folder.path.glob("0*")} == received
    server.kill()
    found = rows_replayed(place.template, segments, end_of(place, segments), place.home / "replay")
    assert found == set(range(1, 21)), found


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


CASES = [
    what_is_expected_has_its_slot_and_writes_nothing_before_it_is_wanted,
    commits_are_acknowledged_only_while_the_receiver_runs,
    a_receiver_whose_session_was_ended_still_knows_what_it_has_flushed,
    every_acknowledged_row_outlives_kills_of_receiver_and_primary,
    a_stale_tail_after_the_start_of_a_term_is_not_replayed,
    a_receiver_refuses_another_branch_or_term,
    a_primary_that_lost_wal_does_not_come_over_what_was_received,
    a_server_that_took_the_address_since_is_not_received_from,
    a_full_disk_stops_acknowledgements_until_there_is_room,
    a_receiver_dies_with_its_supervisor,
    wal_that_the_primary_no_longer_has_is_said_to_be_gone,
]
