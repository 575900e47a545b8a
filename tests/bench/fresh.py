"""The first moments of a branch: its pages come from the layer, its first writes copy them.

The floor is a copy of the whole data directory, its pages in the page cache too, its server just started.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from tests.bench.bench import Bench, Group
from tests.bench.client import TPC_B, client
from tests.bench.datasets import Dataset
from tests.bench.goals import Measure, ratio_at_least, ratio_at_most
from tests.bench.pairs import Alternation, Sample, Stopwatch

_FRESH_S = 8
_WARM_S = 1
_SELECT = "select count(*), sum(abalance) from pgbench_accounts"


def _first_statements(session: psycopg.Connection, dataset: Dataset) -> Sample:
    watch = Stopwatch()
    session.execute(_SELECT).fetchone()
    select = watch.ms()
    last = dataset.accounts // 100
    watch = Stopwatch()
    session.execute(f"update pgbench_accounts set abalance = abalance + 1 where aid <= {last}")
    return {"select": select, "update": watch.ms()}


def first_statements(bench: Bench) -> Iterator[Measure]:
    dataset = bench.options.main
    storage = bench.prepare(dataset)

    def floor() -> Sample:
        with bench.fresh_floor(dataset) as server, server.start() as session:
            return _first_statements(session, dataset)

    def ours() -> Sample:
        with bench.ours.branch(storage) as (pg, session, _):
            bench.ours.settle(pg)
            return _first_statements(session, dataset)

    pairs = Alternation(floor, ours).run(bench.options.pairs)
    yield Measure(
        f"first full SELECT on a fresh branch, {dataset.title}",
        "ms",
        pairs.all_of("select"),
        ratio_at_most(1.5),
    )
    yield Measure(
        f"UPDATE of 1 % of rows on a fresh branch, {dataset.title}",
        "ms",
        pairs.all_of("update"),
        ratio_at_most(1.5),
    )


def first_seconds(bench: Bench) -> Iterator[Measure]:
    """TPC-B from the moment the branch answers; it isn't waited for to settle."""
    dataset = bench.options.main
    storage = bench.prepare(dataset)
    with client(bench.engine, {}) as load:

        def floor(seconds: float = _FRESH_S) -> Sample:
            with bench.fresh_floor(dataset) as server:
                server.start().close()
                return {"tps": load.pgbench(TPC_B, server.conninfo, seconds)}

        def ours(seconds: float = _FRESH_S) -> Sample:
            with bench.ours.branch(storage) as (pg, _, _):
                return {"tps": load.pgbench(TPC_B, pg.conninfo, seconds)}

        sides = Alternation(floor, ours, lambda: floor(_WARM_S), lambda: ours(_WARM_S))
        pairs = sides.run(bench.options.few_pairs)
    yield Measure(
        f"TPC-B in the first {_FRESH_S} s of a fresh branch, {dataset.title}",
        "tps",
        pairs.all_of("tps"),
        ratio_at_least(0.9),
    )


GROUPS = (Group("fresh-statements", first_statements), Group("fresh-tpcb", first_seconds))
