"""What clients commit while the recorder runs, and what must be there after a cut. Runs inside a container.

Every value has two moments, as positions in the log: before it was begun, and after its commit was
acknowledged (None: never). At a cut the last one acknowledged before it must be there, or any begun later
than that one. The values of a key are written by one client, in order.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.power import server

KEYS = 400  # of each client
HEAP_ROWS = 300  # of a table that is replaced as a whole

SETUP = (
    "CREATE EXTENSION amcheck",
    "CREATE TABLE kept (id int PRIMARY KEY, version int NOT NULL, filler text)",
    "CREATE INDEX ON kept (version, id)",
    "INSERT INTO kept SELECT n, 0, repeat(md5(n::text), 12) FROM generate_series(0, 4 * 400 - 1) n",
    "CREATE TABLE cut (version int, n int, filler text)",
    "CREATE TABLE dropped (version int, n int, filler text)",
    "CREATE INDEX ON cut (n)",
)
_FILL = f"SELECT %s::int, n, repeat(md5(n::text), 8) FROM generate_series(1, {HEAP_ROWS}) n"

Key = int | str  # a row of "kept", or the name of a table that is replaced as a whole


@dataclass
class Value:
    version: int | None  # None: no such row
    begun: int
    acknowledged: int | None = None


@dataclass
class Ledger:
    """What was committed, by key; `position` says where the log is now."""

    position: Callable[[], int]
    values: dict[Key, list[Value]] = field(default_factory=dict)

    def begin(self, changes: dict[Key, int | None]) -> list[Value]:
        begun = self.position()
        made = [Value(version, begun) for version in changes.values()]
        for key, value in zip(changes, made, strict=True):
            self.values.setdefault(key, []).append(value)
        return made

    def acknowledge(self, values: list[Value]) -> None:
        now = self.position()
        for value in values:
            value.acknowledged = now

    def allowed(self, key: Key, cut: int, first: int | None) -> set[int | None]:
        """What a key may have after a cut at this position; `first` is what it had at the beginning."""
        found: set[int | None] = {first}
        for value in self.values.get(key, []):
            if value.acknowledged is not None and value.acknowledged <= cut:
                found = {value.version}
            elif value.begun <= cut:
                found.add(value.version)
        return found


def work(root: Path, ledger: Ledger, transactions: int, seed: int) -> None:
    """Three clients that write and one that vacuums and makes checkpoints, until the writers are done."""
    failures: list[BaseException] = []
    done = threading.Event()

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # the main thread raises it
            failures.append(error)

    def write(client: int) -> None:
        rng = random.Random(seed + client)
        with server.connect(root) as session:
            for number in range(1, transactions + 1):
                _change_rows(session, ledger, client, number, rng)

    def replace_tables() -> None:
        rng = random.Random(seed + 10)
        with server.connect(root) as session:
            for number in range(1, transactions // 8 + 1):
                _replace(session, ledger, rng.choice(("cut", "dropped")), number)

    def maintain() -> None:
        rng = random.Random(seed + 20)
        with server.connect(root) as session:
            while not done.is_set():
                session.execute(rng.choice((b"CHECKPOINT", b"VACUUM kept", b"VACUUM FREEZE cut", b"ANALYZE")))
                done.wait(rng.random() / 5)

    writers = [
        *(threading.Thread(target=guarded, args=(lambda n=n: write(n),)) for n in range(3)),
        threading.Thread(target=guarded, args=(replace_tables,)),
    ]
    maintainer = threading.Thread(target=guarded, args=(maintain,))
    for thread in (*writers, maintainer):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    maintainer.join()
    if failures:
        raise failures[0]


def _change_rows(
    session: psycopg.Connection[tuple[object, ...]],
    ledger: Ledger,
    client: int,
    version: int,
    rng: random.Random,
) -> None:
    keys = rng.sample(range(client * KEYS, (client + 1) * KEYS), rng.choice((1, 3, 12)))
    changes: dict[Key, int | None] = {key: version if rng.random() < 0.8 else None for key in sorted(keys)}
    begun = ledger.begin(changes)
    filler = "x" * rng.choice((10, 300, 1500))
    with session.transaction():
        for key, wanted in changes.items():
            if wanted is None:
                session.execute("DELETE FROM kept WHERE id = %s", (key,))
            else:
                session.execute(
                    "INSERT INTO kept VALUES (%s, %s, %s) ON CONFLICT (id)"
                    " DO UPDATE SET version = excluded.version, filler = excluded.filler",
                    (key, wanted, filler),
                )
    ledger.acknowledge(begun)


def _replace(
    session: psycopg.Connection[tuple[object, ...]], ledger: Ledger, table: str, version: int
) -> None:
    begun = ledger.begin({table: version})
    with session.transaction():
        if table == "cut":
            session.execute("TRUNCATE cut")
            session.execute(f"INSERT INTO cut {_FILL}".encode(), (version,))
        else:
            session.execute("DROP TABLE dropped")
            session.execute("CREATE TABLE dropped (version int, n int, filler text)")
            session.execute(f"INSERT INTO dropped {_FILL}".encode(), (version,))
            session.execute("CREATE INDEX ON dropped (n, filler)")
    ledger.acknowledge(begun)


_AMCHECK = """
SELECT c.oid::regclass::text, v.blkno, v.offnum, v.msg
FROM pg_class c, LATERAL verify_heapam(c.oid) v
WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p'"""
_INDEXES = """
SELECT bt_index_check(index => c.oid, heapallindexed => true)
FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid"""


def complaints(root: Path, ledger: Ledger, cut: int) -> list[str]:
    """What is wrong with the recovered server over `root`, its power cut at this position of the log."""
    with server.connect(root) as session:
        session.execute(
            "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off"
        )
        found = [f"amcheck: {row}" for row in session.execute(_AMCHECK.encode())]
        session.execute(_INDEXES.encode())
        return found + _wrong_rows(session, ledger, cut) + _wrong_tables(session, ledger, cut)


def _wrong_rows(session: psycopg.Connection[tuple[object, ...]], ledger: Ledger, cut: int) -> list[str]:
    found: dict[object, list[object]] = {}
    for key, version in session.execute("SELECT id, version FROM kept"):
        found.setdefault(key, []).append(version)
    wrong = [f"row {key} is there {len(values)} times" for key, values in found.items() if len(values) > 1]
    for key in range(4 * KEYS):
        has = found.get(key, [None])[0]
        if has not in (allowed := ledger.allowed(key, cut, 0)):
            wrong.append(f"row {key} has version {has}, not one of {allowed}")
    return wrong


def _wrong_tables(session: psycopg.Connection[tuple[object, ...]], ledger: Ledger, cut: int) -> list[str]:
    wrong = []
    for table in ("cut", "dropped"):
        query = f"SELECT version, count(*), count(DISTINCT n) FROM {table} GROUP BY version"
        rows = session.execute(query.encode()).fetchall()
        allowed = ledger.allowed(table, cut, None)
        if rows not in [[(v, HEAP_ROWS, HEAP_ROWS)] if v is not None else [] for v in allowed]:
            wrong.append(f"table {table} has {rows}, not one of {allowed}")
    return wrong
