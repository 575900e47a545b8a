"""A parent's life of chance over two databases, with moments noted on the way. Runs inside a container.

Whatever happens is one of `DEEDS`, in one of the databases. One client at a time and no autovacuum: what a
dump says at a moment is what was committed before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import psycopg

from neon_compose.compute.paths import ComputePaths
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.server import ADMIN
from tests.moment.world import Session, World

DATABASES = ("postgres", "other")
_SEQUENCE = "SELECT last_value FROM chance"
_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^r[0-9]+$' ORDER BY 1"
_LARGE = "SELECT oid FROM pg_largeobject_metadata ORDER BY 1"
_ROWS = "SELECT g, g % 13, repeat(md5((g + {n})::text), 1 + g % 12) FROM generate_series(1, {rows}) g"
_MORE = (
    "INSERT INTO {t} (id, a, filler) SELECT (SELECT coalesce(max(id), 0) FROM {t}) + g, g, md5(g::text) "
    "FROM generate_series(1, {rows}) g"
)


@dataclass(frozen=True)
class Seen:
    """A moment, by its LSN and by the clock: what a dump of each database was, and where its sequence was."""

    lsn: Lsn
    at: datetime
    dumps: dict[str, str]
    counted: dict[str, int]


class Place:
    """A database; `number` is another one with each deed."""

    def __init__(self, session: Session, rng: random.Random) -> None:
        self.session, self.rng, self.number = session, rng, 0

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.session.execute(statement.encode())

    def pick(self, query: str) -> str | None:
        """One of what the query finds."""
        found = [str(one) for (one,) in self.session.execute(query.encode()).fetchall()]
        return self.rng.choice(found) if found else None

    def create(self, name: str) -> None:
        rows = _ROWS.format(n=self.number, rows=self.rng.randrange(50, 1500))
        self.run(
            f"CREATE TABLE {name} (id int PRIMARY KEY, a int, filler text)", f"INSERT INTO {name} {rows}"
        )

    def table(self) -> str:
        found = self.pick(_TABLES)
        if found is None:
            found = f"r{self.number}"
            self.create(found)
        return found


Deed = Callable[[Place], object]


def _on_table(*statements: str) -> Deed:
    def deed(place: Place) -> None:
        t = place.table()
        for one in statements:
            place.run(one.format(t=t, n=place.number, rows=place.rng.randrange(1, 900)))

    return deed


def _large(statement: str) -> Deed:
    def deed(place: Place) -> None:
        found = place.pick(_LARGE)
        if found is not None:
            place.run(statement.format(oid=found, n=place.number))

    return deed


def _plain(*statements: str) -> Deed:
    return lambda place: place.run(*(one.format(n=place.number) for one in statements))


def _another_database(place: Place) -> None:
    """There is at most one more."""
    found = place.pick("SELECT datname FROM pg_database WHERE datname ~ '^more'")
    how = place.rng.choice(("wal_log", "file_copy"))
    made = f"CREATE DATABASE more{place.number} STRATEGY {how} TEMPLATE template1"
    place.run(f"DROP DATABASE {found}" if found else made)


DEEDS: tuple[Deed, ...] = (
    lambda place: place.create(f"r{place.number}"),
    _on_table(_MORE),
    _on_table("UPDATE {t} SET a = a + 1, filler = filler || 'x' WHERE id % 7 = {n} % 7"),
    _on_table("DELETE FROM {t} WHERE id % 5 = {n} % 5"),
    _on_table("TRUNCATE {t}", _MORE),
    _on_table("DROP TABLE {t}"),
    _on_table("ALTER TABLE {t} ADD COLUMN c{n} int DEFAULT {n}"),
    _on_table("ALTER TABLE {t} ALTER COLUMN a TYPE bigint", "ALTER TABLE {t} ALTER COLUMN a TYPE int"),
    _on_table("CREATE INDEX ON {t} (a, id)", "REINDEX TABLE {t}"),
    _on_table("DELETE FROM {t} WHERE id > 100", "VACUUM {t}"),
    _on_table("VACUUM FULL {t}"),
    _on_table("CLUSTER {t} USING {t}_pkey"),
    _on_table("BEGIN", _MORE, "SAVEPOINT s", "DELETE FROM {t}", "ROLLBACK TO s", _MORE, "COMMIT"),
    _on_table("BEGIN", _MORE, "PREPARE TRANSACTION 'p{n}'", "CHECKPOINT", "COMMIT PREPARED 'p{n}'"),
    _plain("BEGIN", "CREATE TABLE never AS " + _ROWS.format(n=1, rows=500), "ROLLBACK"),
    _plain("SELECT nextval('chance') FROM generate_series(1, 40)"),
    _plain("SELECT setval('chance', {n} * 100)"),
    _plain("CREATE SEQUENCE s{n}", "SELECT nextval('s{n}')"),
    _plain("SELECT lo_from_bytea(0, convert_to(repeat('large {n}', 700), 'UTF8'))"),
    _large("SELECT lo_put({oid}, 1000, convert_to('put {n}', 'UTF8'))"),
    _large("SELECT lo_unlink({oid})"),
    _plain("CHECKPOINT"),
    _plain("SELECT pg_switch_wal()", "CHECKPOINT"),
    _another_database,
)


def live(world: World, paths: ComputePaths, rng: random.Random, deeds: int) -> list[Seen]:
    """Every deed once in a random order, then random ones; the server is killed at the end."""
    with world.running(paths) as first, ExitStack() as sessions:
        first.execute("CREATE DATABASE other")
        places = [Place(sessions.enter_context(_connect(paths, one)), rng) for one in DATABASES]
        for place in places:
            place.run("CREATE SEQUENCE chance")
        return list(_moments(world, paths, places, rng, deeds))


def _moments(
    world: World, paths: ComputePaths, places: list[Place], rng: random.Random, deeds: int
) -> Iterator[Seen]:
    first = rng.sample(DEEDS, len(DEEDS))
    for number, deed in enumerate([*first, *rng.choices(DEEDS, k=max(0, deeds - len(first)))], 1):
        place = rng.choice(places)
        place.number = number
        deed(place)
        if rng.random() < 0.25:
            yield _seen(world, paths, places)
    yield _seen(world, paths, places)
    places[0].run("CREATE TABLE last ()")  # a commit: WAL is flushed up to the last moment


def _seen(world: World, paths: ComputePaths, places: list[Place]) -> Seen:
    dumps = world.dumps(paths)
    query = b"SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()"
    row = places[0].session.execute(query).fetchone()
    assert row is not None
    lsn, at = row
    assert isinstance(at, datetime)
    return Seen(Lsn.parse(str(lsn)), at, dumps, {one: counted(paths, one) for one in DATABASES})


def counted(paths: ComputePaths, database: str) -> int:
    with _connect(paths, database) as session:
        row = session.execute(_SEQUENCE.encode()).fetchone()
    assert row is not None
    return int(str(row[0]))


def _connect(paths: ComputePaths, database: str) -> Session:
    return psycopg.connect(host=str(paths.run), user=ADMIN, dbname=database, autocommit=True)
