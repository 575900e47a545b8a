"""A primary whose clock is set back and on again (clock.c), and which commits a time is the moment of. Run by
inside.py."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from neon_compose import wait
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import find_time, normalise, walk
from tests.wal.place import Place
from tests.wal.server import SEGMENT, V17, Server

LIBRARY = "libclock.so"  # beside this file, if there was a compiler
_OFFSETS_S = (0, 100, -3600, -3590, 0, 50, -7200, 200)  # of the clock at each commit
_MOMENTS = (1, 2, 5)  # commits whose times are moments: not after all of them, or upstream finds no end


def a_clock_that_was_set_back_means_what_it_means_to_upstream(place: Place) -> None:
    """A time is the moment before the first commit, in the order of WAL, that says it was made later."""
    server, redo = place.server(), place.template.redo
    times = _commits(server, place.home / "offset")
    assert times != sorted(times)
    wal = WalFolder(place.home / "wal", 1, SEGMENT)
    shutil.copytree(server.pgdata / "pg_wal", wal.path)
    end = walk(V17, wal, redo).end
    tick = timedelta(microseconds=1)
    for number in _MOMENTS:
        for at in (times[number], times[number] - tick):
            rows = next(n for n, one in enumerate(times) if one > at)
            found = find_time(V17, wal, redo, end, at).lsn
            assert found is not None, at
            assert normalise(V17, wal, redo, found) == found
            assert _rows_at_lsn(place, wal, found) == rows, (number, at)
            if at == times[number]:
                assert _rows_at_time(place, wal, at) == rows, (number, at)
    assert find_time(V17, wal, redo, end, max(times)).lsn is None


def _commits(server: Server, offset: Path) -> list[datetime]:
    """One row a commit; the times they got."""
    library = Path(__file__).with_name(LIBRARY)
    clock = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}
    server.start(env={**os.environ, **clock}, track_commit_timestamp="on", autovacuum="off")
    times = []
    for number, seconds in enumerate(_OFFSETS_S):
        offset.write_text(str(seconds))
        server.sql(f"INSERT INTO t VALUES ({number}, '')")
        [(found,)] = server.sql(f"SELECT pg_xact_commit_timestamp(xmin) FROM t WHERE n = {number}")
        assert isinstance(found, datetime)
        times.append(found)
    server.kill()
    return times


def _rows_at_lsn(place: Place, wal: WalFolder, lsn: Lsn) -> int:
    """After crash recovery of the WAL up to there."""
    server = place.server(f"at-{lsn.value}")
    cut = {}
    for number in range(wal.number(place.template.redo), wal.number(Lsn(lsn.value - 1)) + 1):
        inside = lsn.value - wal.begin(number).value
        cut[wal.name(number)] = wal.read(number)[:inside].ljust(SEGMENT, b"\0")
    server.open_with(cut)
    server.start()
    return _counted(server)


def _rows_at_time(place: Place, wal: WalFolder, at: datetime) -> int:
    """After upstream's own recovery of the archive to that time."""
    server = place.server(f"upstream-{at.timestamp()}")
    (server.pgdata / "recovery.signal").touch()
    server.start(
        restore_command=f"cp {wal.path}/%f %p",
        recovery_target_time=str(at),
        recovery_target_action="promote",
        recovery_target_timeline="current",
        max_connections="100",  # as it was before this test: recovery takes no less
    )
    over = lambda: server.sql("SELECT pg_is_in_recovery()") == [(False,)]  # noqa: E731
    wait.until("recovery to end", over, wait.Deadline.after(30), last_words=server.said)
    return _counted(server)


def _counted(server: Server) -> int:
    [(found,)] = server.sql("SELECT count(*) FROM t")
    server.kill()
    shutil.rmtree(server.home)
    return int(str(found))


CASES = [a_clock_that_was_set_back_means_what_it_means_to_upstream]
