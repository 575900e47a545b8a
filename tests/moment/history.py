"""What a parent does between its layer and its end, with moments noted on the way. Runs inside a container.

One client at a time and no autovacuum: what a dump says at a moment is what was committed before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from neon_compose.compute.paths import ComputePaths
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import PAGE
from tests.moment.world import Noted, Session, World
from tests.power.server import connect

SETUP = [
    "CREATE EXTENSION amcheck",
    "CREATE TABLE kept (id int PRIMARY KEY, version int NOT NULL, filler text)",
    "CREATE INDEX ON kept (version, id)",
    "INSERT INTO kept SELECT n, 0, repeat(md5(n::text), 12) FROM generate_series(1, 4000) n",
    "CREATE TABLE cut AS SELECT n, repeat(md5(n::text), 8) AS filler FROM generate_series(1, 3000) n",
    "CREATE TABLE dropped AS SELECT * FROM cut",
    "CREATE UNLOGGED TABLE unlogged AS SELECT * FROM cut",
    "CREATE SEQUENCE counted",
    "VACUUM (FREEZE, ANALYZE)",
]
_MESSAGE = 24 + 2 + 24 + 1  # record header, data header, xl_logical_message, an empty prefix's end
_LONGEST_PAGE_HEADER = 40
_FILL = "SELECT n, repeat(md5(n::text || '{}'), 8) AS filler FROM generate_series(1, 3000) n"


def live(world: World, paths: ComputePaths) -> list[Noted]:
    """The parent's life over its laid-out branch; the server is killed at the end."""
    noted: list[Noted] = []
    with world.running(paths) as session:
        for name in _steps(session, lambda: closing(connect(paths.root))):
            noted.append(Noted(name, _end_of_wal(session), world.dumps(paths)))
    return noted


def _end_of_wal(session: Session) -> Lsn:
    return Lsn.parse(str(_one(session, "SELECT pg_current_wal_insert_lsn()::text")))


def _one(session: Session, sql: str) -> object:
    row = session.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]


Connect = Callable[[], "closing[Session]"]


def _steps(session: Session, another: Connect) -> Iterator[str]:
    """Yields the name of a moment each time there is one."""

    def run(*statements: str) -> None:
        for statement in statements:
            session.execute(statement.encode())

    run("INSERT INTO kept VALUES (5001, 1, 'first')")
    yield "first commit"
    run(
        "UPDATE kept SET version = 2, filler = filler || 'x' WHERE id % 7 = 0",
        "DELETE FROM kept WHERE id % 11 = 0",
    )
    yield "rows"
    run("SELECT nextval('counted')", "SELECT lo_from_bytea(4711, '\\x616263')", "ANALYZE")
    yield "sequence and large object"
    run("CHECKPOINT", f"CREATE TABLE made AS {_FILL.format('made')}", "CREATE INDEX ON made (filler)")
    yield "table made after a checkpoint"
    run("TRUNCATE cut", f"INSERT INTO cut {_FILL.format('cut')}", "DROP TABLE dropped")
    yield "truncated and dropped"
    run("CREATE DATABASE copied STRATEGY file_copy TEMPLATE postgres", "CREATE DATABASE logged")
    yield "databases"
    run("DELETE FROM made WHERE n > 100", "VACUUM made", "VACUUM FULL kept", "REINDEX TABLE kept")
    yield "shrunk and rewritten"
    _lock_rows(session, another)
    yield "rows locked by two"
    run("BEGIN", "INSERT INTO kept VALUES (5002, 2, 'prepared')", "PREPARE TRANSACTION 'two'", "CHECKPOINT")
    yield "prepared"
    run("COMMIT PREPARED 'two'", "DROP DATABASE logged", "CHECKPOINT", "SELECT nextval('counted')")
    yield "committed prepared and a checkpoint"
    _fill_page(session)
    yield "start of a page"
    run("INSERT INTO kept VALUES (5003, 3, 'switched')", "SELECT pg_switch_wal()")
    yield "start of a segment"
    run(f"CREATE TABLE large AS {_FILL.format('large')}", f"INSERT INTO large {_FILL.format('more')}")
    yield "a large table"
    run("INSERT INTO unlogged SELECT * FROM large")
    for n in range(6000, 6050):
        run(f"INSERT INTO kept VALUES ({n}, 4, 'single')")
    yield "single rows"
    run("UPDATE kept SET version = 5", "DELETE FROM large")


def _lock_rows(session: Session, another: Connect) -> None:
    """Two lockers of one row make a multixact."""
    with another() as second, session.transaction():
        session.execute("SELECT FROM kept WHERE id = 1 FOR KEY SHARE")
        second.execute("SELECT FROM kept WHERE id = 1 FOR KEY SHARE")
        session.execute("UPDATE kept SET version = 9 WHERE id = 1")


def _fill_page(session: Session) -> None:
    """Emit messages until the last one ends where a page does."""
    for _ in range(200):
        left = PAGE - _end_of_wal(session).value % PAGE
        if left > PAGE - _LONGEST_PAGE_HEADER:
            return
        size = left - _MESSAGE if _MESSAGE < left < 256 else 100
        session.execute("SELECT pg_logical_emit_message(false, '', repeat('x', %s))", (size,))
    raise AssertionError("no message ended where a page does")
