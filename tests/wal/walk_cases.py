"""Walks over WAL that was received, whole, flipped, cut or being received. Run by inside.py."""

from __future__ import annotations

import shutil
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from neon_compose import wait
from neon_compose.errors import Corrupt, Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.nearby import boundary_before
from neon_compose.postgres.wal import PAGE
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import Found, Stop, commits, find_time, normalise, walk
from neon_compose.safekeeper.segments import Segments
from tests.wal.place import INSERT, STANDBY, Place, await_flushed, end_of, raises
from tests.wal.server import (
    SEGMENT,
    V17,
    receiving,
    rows_replayed,
)


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
    assert walked.last_checkpoint is not None
    assert redo <= walked.last_checkpoint < end
    nothing = replace(walked, said="", last_record=None, last_checkpoint=None)
    assert walk(V17, wal, end) == nothing
    assert walk(V17, wal, ends[0], known=end).end == end  # from the middle
    for lsn in ends:
        assert normalise(V17, wal, redo, lsn) == lsn
        bound = walk(V17, wal, redo, upto=lsn)
        assert bound.stop is Stop.BOUND
        assert bound.last_record is not None
        assert normalise(V17, wal, redo, bound.last_record) < lsn
        assert walk(V17, wal, bound.last_record, upto=lsn).last_record == bound.last_record
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


def a_gap_after_what_is_asked_for_is_no_concern(place: Place) -> None:
    segments, _, ends = received(place)
    redo = place.template.redo
    wal = copied(place, segments, "gap")
    last = max(wal.files())
    wal.files()[last].rename(wal.complete(last + 2))
    before = max(one for one in ends if one <= wal.begin(last))
    assert walk(V17, wal, redo, known=before, upto=before).end == before
    assert find_time(V17, wal, redo, before, datetime(2001, 1, 1, tzinfo=UTC)).lsn is not None
    raises(Corrupt, lambda: walk(V17, wal, redo, known=ends[-1]), wal.name(last), "missing")


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
    assert find_time(V17, wal, end, end, times[0]) == Found(None, None, None)
    wal = copied(place, segments, "flipped")
    middle = find_time(V17, wal, redo, end, times[4]).lsn
    assert middle is not None
    bad = Lsn(middle.value - 40)
    change(wal, bad, flipped(wal, bad))
    raises(Corrupt, lambda: find_time(V17, wal, redo, end, times[-1]), "damaged")


ROWS = ("INSERT INTO t VALUES (1, 'x'), (2, 'y')", "UPDATE t SET filler = 'z'", "ANALYZE t", "DELETE FROM t")
CATALOGS = (
    "CREATE TABLE u AS SELECT 1 n",
    "CREATE TEMPORARY TABLE v (n int)",
    "ALTER TABLE t ADD c int",
    "ALTER TABLE t SET (fillfactor = 70)",
    "ALTER TABLE t ALTER filler TYPE varchar(1000)",
    "CREATE INDEX i ON t (c)",
    "CREATE STATISTICS s ON n, c FROM t",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE r",
    "GRANT SELECT ON t TO r",
    "COMMENT ON TABLE t IS 'c'",
    "TRUNCATE u",
    "DROP TABLE u",
    "CREATE DATABASE d",
    "DROP DATABASE d",
)


def a_commit_tells_whether_it_changed_catalogs(place: Place) -> None:
    server, segments = place.server(), place.template.seeded(place.home / "wal")
    server.start_primary(autovacuum="off")
    asked = [(sql, False) for sql in ROWS] + [(sql, True) for sql in CATALOGS]
    asked += [(sql, False) for sql in ROWS]  # with statistics over two columns
    done: list[tuple[str, bool, Lsn]] = []
    with receiving(segments, server) as receiver:
        before = server.lsn()
        for sql, changes in asked:
            server.sql(sql)
            done.append((sql, changes, server.lsn()))
        await_flushed(receiver, done[-1][2])
    server.kill()
    wal, end = segments.folder, end_of(place, segments)
    found = list(commits(V17, wal, place.template.redo, end))
    for sql, changes, after in done:
        own = [one for one in found if before < one.end <= after]
        assert own, sql
        assert any(one.changed_catalogs for one in own) is changes, sql
        before = after
    assert all(normalise(V17, wal, place.template.redo, one.end) == one.end for one in found[-5:])


def the_last_record_before_an_lsn_is_found_from_close_by(place: Place) -> None:
    segments, end, _ = received(place)
    wal, redo = segments.folder, place.template.redo
    found = 0
    for _ in range(60):
        lsn = Lsn(place.rng.randrange(redo.value + SEGMENT, end.value + 1))
        near = boundary_before(wal, lsn, place.rng.choice([PAGE, 4 * PAGE, 64 * PAGE]))
        if near is not None:
            found += 1
            assert walk(V17, wal, near, known=lsn, upto=lsn).end == normalise(V17, wal, redo, lsn), (
                near,
                lsn,
            )
    assert found > 20


CASES = [
    a_walk_ends_where_the_wal_does,
    a_folder_is_walked_and_read_while_it_is_filled,
    a_switch_of_segments_is_no_end,
    a_flipped_byte_is_never_the_end_of_what_is_known,
    a_record_cut_off_by_the_end_is_told_from_a_bad_one,
    wal_that_ends_with_its_last_segment_is_no_damage,
    a_missing_or_short_segment_is_named,
    a_gap_after_what_is_asked_for_is_no_concern,
    a_time_is_where_no_later_commit_is_included,
    a_commit_tells_whether_it_changed_catalogs,
    the_last_record_before_an_lsn_is_found_from_close_by,
]
