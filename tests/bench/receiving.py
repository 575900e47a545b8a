"""How soon a safekeeper receives from a primary that came up: clients of durability `quorum` wait for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg

from tests.bench.bench import Bench, Group
from tests.bench.goals import Measure, ours_at_most
from tests.bench.ours import Pg
from tests.bench.pairs import calm

# By the compute's own clock: its log, and when the receiver's connection began.
_READY = re.compile(rb"^(\S+ \S+) UTC .*database system is ready to accept connections", re.MULTILINE)
_CONNECTED = "select min(backend_start) from pg_stat_replication where application_name ~ '^b[0-9a-f]{12}_t'"


def _connected_ms(bench: Bench, pg: Pg) -> float:
    """From the last start's "ready" until the first receiver connected."""
    with psycopg.connect(pg.conninfo) as session:
        found = session.execute(_CONNECTED).fetchone()
    assert found is not None
    said = bench.engine.api.logs(bench.ours.container(pg))
    ready = datetime.fromisoformat(_READY.findall(said)[-1].decode()).replace(tzinfo=UTC)
    return float((found[0] - ready).total_seconds() * 1000)


def connects(bench: Bench) -> Iterator[Measure]:
    storage = bench.prepare(bench.options.main)
    first, again = [], []
    for _ in range(bench.options.pairs):
        calm()
        with bench.ours.branch(storage, durability="quorum") as (pg, session, _):
            first.append(_connected_ms(bench, pg))
            session.close()
            bench.ours.settle(pg)
            bench.ours.stop(pg.name)
            calm()
            bench.ours.start(pg.name)
            again.append(_connected_ms(bench, pg))
    goal = ours_at_most(20, "ms")
    yield Measure.alone(
        "safekeeper connected after the primary is up, a branch's first start", "ms", first, goal
    )
    yield Measure.alone("safekeeper connected after the primary is up, started again", "ms", again, goal)


GROUPS = (Group("safekeeper-connects", connects),)
