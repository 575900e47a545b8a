"""The safekeeper's process with Postgres itself: killed, and led from term to term. Run by inside.py."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from pathlib import Path

import psycopg
from pydantic import SecretStr

from neon_compose import wait
from neon_compose.errors import NeonError
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.server import ADMIN
from neon_compose.safekeeper.condition import Condition
from neon_compose.terms.names import standby_name
from neon_compose.wire.safekeeper import ReceiverRequest
from tests.wal.place import INSERT, Place, raises
from tests.wal.safekeepers import Branch, Process, keepers_of
from tests.wal.server import BRANCH, PORT, Server

PASSWORD = "p:4\\s s"


def a_safekeeper_goes_on_after_kill_9_and_stops_for_a_later_term(place: Place) -> None:
    (keeper,) = keepers_of(place, 1)
    branch = Branch(place.template, [keeper])
    branch.lead([keeper])
    branch.adopt(keeper)
    server = place.server()
    server.start_primary(standbys=branch.standbys())
    branch.receive(keeper, server, ADMIN)
    server.sql(INSERT.format(1, 3000))  # returns once it is flushed there, several segments on
    first = keeper.flushed
    assert first >= place.template.start
    keeper.kill()
    keeper.start()
    keeper.await_receiving()  # by itself
    server.sql(INSERT.format(3001, 3500))
    end = server.lsn()
    wait.until("it to be flushed", lambda: keeper.flushed >= end, wait.Deadline.after(10))
    end = keeper.flushed
    assert end > first
    _same_bytes(place, keeper, server, end)
    keeper.client.commit(BRANCH, 1, end)
    assert Lsn.parse(keeper.status.committed) > first

    answer = keeper.client.promise(BRANCH, 2)
    assert answer.log.end >= end
    assert keeper.status.receiver == "stopped"
    assert server.sql("SELECT * FROM pg_stat_replication WHERE application_name NOT LIKE '%_watch'") == []
    keeper.kill()
    keeper.start()
    assert (keeper.status.receiver, keeper.status.promised) == ("stopped", 2)
    raises(NeonError, lambda: branch.receive(keeper, server, ADMIN), "term 1 is over")
    server.kill()
    assert keeper.end() == 0, keeper.said()


def _same_bytes(place: Place, keeper: Process, server: Server, end: Lsn) -> None:
    """What the safekeeper gives out is what the primary has."""
    given = b"".join(keeper.client.wal(BRANCH, place.template.start, end))
    wal = place.template.wal
    there = b""
    for number in range(wal.number(place.template.start), wal.number(end) + 1):
        there += (server.pgdata / "pg_wal" / wal.name(number)).read_bytes()
    skipped = place.template.start.value - wal.begin(wal.number(place.template.start)).value
    assert given == there[skipped : skipped + len(given)]


def a_receiver_connects_within_moments_of_a_request(place: Place) -> None:
    """Over TCP, with a password. The first request comes before there is a server."""
    (keeper,) = keepers_of(place, 1)
    branch = Branch(place.template, [keeper])
    branch.lead([keeper])
    branch.adopt(keeper)
    server = place.server()
    with (server.pgdata / "pg_hba.conf").open("a") as hba:
        hba.write(
            "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"
        )
    server.start_primary()
    server.sql(f"ALTER ROLE {ADMIN} PASSWORD '{PASSWORD}'")
    asked = ReceiverRequest(term=1, host="127.0.0.1", port=PORT, user=ADMIN, password=SecretStr(PASSWORD))
    took_ms = []
    for _ in range(5):
        server.kill()
        keeper.client.receive(BRANCH, asked)
        time.sleep(place.rng.random())
        server.start_primary(listen_addresses="127.0.0.1")
        began_s = wait.monotonic_s()
        keeper.client.receive(BRANCH, asked)
        name = standby_name(BRANCH, 1, branch.kept.seats[0])  # type: ignore[arg-type]
        query = f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'"
        with server.connect() as session:
            there = lambda: session.execute(query.encode()).fetchone()  # noqa: B023, E731
            wait.until(
                "it to stream", there, wait.Deadline.after(10), last_words=keeper.said, longest_s=0.005
            )
        took_ms.append(round((wait.monotonic_s() - began_s) * 1000))
    print(f"connected after {took_ms} ms", file=sys.stderr)
    assert sorted(took_ms)[2] < 250, took_ms
    server.kill()
    keeper.kill()


class Writer:
    """Writes rows to whatever primary there is; `acknowledged` are those that were committed."""

    def __init__(self) -> None:
        self.acknowledged: set[int] = set()
        self.begun = 0
        self.server: Server | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        while not self._over.is_set():
            server = self.server
            if server is None:
                self._over.wait(0.01)
                continue
            try:
                with server.connect() as session:
                    while not self._over.is_set():
                        self.begun += 1
                        number = self.begun
                        filler = "x" * (10, 3000, 30_000)[number % 3]
                        session.execute("INSERT INTO t VALUES (%s, %s)", (number, filler))
                        self.acknowledged.add(number)
            except psycopg.Error:
                self._over.wait(0.01)


def every_acknowledged_row_is_in_every_later_term(place: Place) -> None:
    """Three safekeepers: kill -9 of any one while rows are written; then the primary's, and a new term by two
    of them, on another compute."""
    keepers = keepers_of(place, 3)
    branch = Branch(place.template, keepers)
    writer = Writer()
    server: Server | None = None
    for number in range(max(2, place.rounds // 2)):
        asked = place.rng.sample(keepers, 2)
        history = branch.lead(asked)
        for keeper in asked:
            branch.adopt(keeper)
        after = Server(place.template, place.home / f"primary{number}")
        after.open_with(branch.wal_up_to(asked[0], history.last.start))
        settled = set(writer.acknowledged)
        after.start_primary(term=branch.term, standbys=branch.standbys())
        found = {int(str(row[0])) for row in after.sql("SELECT n FROM t")}
        assert settled <= found, sorted(settled - found)
        assert found <= set(range(1, writer.begun + 1))
        for keeper in keepers:
            branch.adopt(keeper)
            branch.receive(keeper, after, ADMIN)
        server = writer.server = after
        for _ in range(2):
            _await_rows(writer, keepers)
            victim = place.rng.choice(keepers)
            victim.kill()
            _await_rows(writer, keepers)  # two are a majority
            victim.start()
            victim.await_receiving()
        commit = branch.commit(keepers)
        assert commit is not None
        assert commit >= history.last.start
        for keeper in keepers:
            keeper.client.commit(BRANCH, branch.term, commit)
        writer.server = None
        server.kill()
    writer.end()
    print(f"{len(writer.acknowledged)} rows in {branch.term} terms", file=sys.stderr)
    for keeper in keepers:
        keeper.kill()


def _await_rows(writer: Writer, keepers: list[Process]) -> None:
    before = len(writer.acknowledged)

    def words() -> str:
        return "\n".join(one.said() for one in keepers)

    more = lambda: len(writer.acknowledged) > before + 5  # noqa: E731
    wait.until("new rows", more, wait.Deadline.after(30), last_words=words)


def a_full_disk_of_a_safekeeper_is_told_and_passes(place: Place) -> None:
    volume = place.small / "keeper"
    volume.mkdir()
    (place.home / "safekeeper1").mkdir()
    (place.home / "safekeeper1" / "volume").symlink_to(volume)
    keeper = Process(place.home, 1)
    branch = Branch(place.template, [keeper])
    branch.lead([keeper])
    branch.adopt(keeper)
    server = place.server()
    server.start_primary(standbys=branch.standbys())
    branch.receive(keeper, server, ADMIN)
    keeper.await_receiving()
    ballast = _fill(place.small)
    writer = Writer()
    writer.server = server
    keeper.await_condition(Condition.DISK_FULL)
    keeper.kill()
    keeper.start()
    keeper.await_condition(Condition.DISK_FULL)
    ballast.unlink()
    _await_rows(writer, [keeper])
    writer.end()
    server.kill()
    keeper.kill()


def _fill(small: Path) -> Path:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small).free - (3 << 20) // 2))
    return ballast


def what_the_primary_no_longer_has_comes_from_the_others(place: Place) -> None:
    keepers = keepers_of(place, 3)
    branch = Branch(place.template, keepers)
    branch.lead(keepers)
    server = place.server()
    server.start_primary(standbys=branch.standbys(), wal_keep_size="0", max_slot_wal_keep_size="1MB")
    for keeper in keepers:
        branch.adopt(keeper)
        branch.receive(keeper, server, ADMIN)
        keeper.await_receiving()
    *others, late = keepers
    late.kill()
    for number in range(6):
        server.sql(INSERT.format(number * 1000, number * 1000 + 999), "CHECKPOINT")
    late.start()
    late.await_condition(Condition.WAL_GONE)
    raises(NeonError, lambda: late.client.adopt(BRANCH, branch.kept.decided.history, []), "no other")
    late.await_condition(Condition.WAL_GONE)  # it tried again
    branch.adopt(late)
    late.await_receiving()
    for keeper in others:
        keeper.kill()
    end = server.lsn()
    wait.until("it to have all", lambda: late.flushed >= end, wait.Deadline.after(20), last_words=late.said)
    after = Server(place.template, place.home / "after")
    after.open_with(branch.wal_up_to(late, end))
    server.kill()
    after.start()
    assert after.sql("SELECT count(*) FROM t") == [(6000,)]
    after.kill()
    late.kill()


CASES = [
    a_safekeeper_goes_on_after_kill_9_and_stops_for_a_later_term,
    a_receiver_connects_within_moments_of_a_request,
    every_acknowledged_row_is_in_every_later_term,
    a_full_disk_of_a_safekeeper_is_told_and_passes,
    what_the_primary_no_longer_has_comes_from_the_others,
]
