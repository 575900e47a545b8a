"""pgbench on servers that have run for a while, each by the three ways in, like with like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg

from tests.bench.bench import Bench, Group, both
from tests.bench.client import SELECT_ONLY, TPC_B, Client, client
from tests.bench.goals import Goal, Measure, ratio_at_least
from tests.bench.ours import Pg
from tests.bench.pairs import Alternation, Sample
from tests.bench.vanilla import Vanilla

_WARM_S = 2.0
_CHECKPOINTS_RUN = 12  # times the seconds of a run: a minute
_WARM_UP = "select count(*) from pgbench_accounts"


@dataclass(frozen=True)
class Load:
    title: str
    script: tuple[str, ...]
    goal: Goal
    durability: str = "local"


@dataclass(frozen=True)
class Way:
    """A way in: what a client is told on either side."""

    title: str
    floor: Callable[[Vanilla], str]
    ours: Callable[[Bench, Pg], str]


LOADS = (
    Load("pgbench -S", SELECT_ONLY, ratio_at_least(0.97)),
    Load("TPC-B, durability `local`", TPC_B, ratio_at_least(0.95)),
    Load("TPC-B, durability `quorum` of 1", TPC_B, ratio_at_least(0.80), "quorum"),
)
THREE = Load("TPC-B, durability `quorum`, 2 of 3", TPC_B, ratio_at_least(0.60), "quorum")
UPSTREAMS_CHECKPOINTS = {"checkpoint_timeout": "5min", "max_wal_size": "1GB"}
WAYS = (
    Way("published port", lambda server: server.conninfo, lambda _, pg: pg.conninfo),
    Way("`--direct`", lambda server: server.direct, lambda bench, pg: bench.ours.direct(pg)),
    Way("`--socket`", lambda server: server.socket, lambda bench, pg: bench.ours.socket(pg)),
)


def _checkpoint(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as session:
        session.execute("checkpoint")


def _measure(bench: Bench, run: Client, server: Vanilla, pg: Pg, load: Load, way: Way) -> Measure:
    floor_at, ours_at = way.floor(server), way.ours(bench, pg)

    def side(conninfo: str, control: str) -> Sample:
        _checkpoint(control)
        return {"tps": run.pgbench(load.script, conninfo, bench.options.seconds)}

    warm_s = min(_WARM_S, bench.options.seconds)
    pairs = Alternation(
        floor=lambda: side(floor_at, server.conninfo),
        ours=lambda: side(ours_at, pg.conninfo),
        warm_floor=lambda: run.pgbench(load.script, floor_at, warm_s),
        warm_ours=lambda: run.pgbench(load.script, ours_at, warm_s),
    ).run(bench.options.pairs)
    title = f"{load.title}, {way.title}, {bench.options.main.title}"
    return Measure(title, "tps", pairs.all_of("tps"), load.goal)


def three_safekeepers(bench: Bench) -> Iterator[Measure]:
    with bench.beside("t", "minio: false\nsafekeepers: 3\n") as other:
        yield from throughput(other, THREE)


def checkpoints(bench: Bench) -> Iterator[Measure]:
    """What our checkpoints cost: the floor is the same pg with upstream's settings of them.

    Each side runs for long enough to come to what its settings make of it, and goes on from its last run.
    """
    seconds = _CHECKPOINTS_RUN * bench.options.seconds
    dataset = bench.options.main
    storage = bench.prepare(dataset)
    with ExitStack() as undo:
        theirs, _, _ = undo.enter_context(
            bench.ours.branch(storage, durability="local", settings=UPSTREAMS_CHECKPOINTS)
        )
        ours, _, _ = undo.enter_context(bench.ours.branch(storage, durability="local"))
        for pg in (theirs, ours):
            bench.ours.settle(pg)
        run = undo.enter_context(client(bench.engine, {}))

        def side(pg: Pg) -> Sample:
            return {"tps": run.pgbench(TPC_B, pg.conninfo, seconds)}

        pairs = Alternation(
            floor=lambda: side(theirs),
            ours=lambda: side(ours),
            warm_floor=lambda: run.pgbench(TPC_B, theirs.conninfo, _WARM_S),
            warm_ours=lambda: run.pgbench(TPC_B, ours.conninfo, _WARM_S),
        ).run(1 if bench.options.quick else 3)
    yield Measure(
        f"TPC-B for {seconds:.0f} s, our checkpoint_timeout and max_wal_size, {dataset.title}",
        "tps",
        pairs.all_of("tps"),
        floor_is="our pg with upstream's",
    )


def throughput(bench: Bench, load: Load) -> Iterator[Measure]:
    """Both servers run all the time; the one that isn't asked is idle."""
    dataset = bench.options.main
    storage = bench.prepare(dataset)
    with both(bench, dataset) as (server, undo):
        pg, session, _ = undo.enter_context(bench.ours.branch(storage, durability=load.durability))
        bench.ours.settle(pg)
        session.execute(_WARM_UP)
        with psycopg.connect(server.conninfo, autocommit=True) as other:
            other.execute(_WARM_UP)
        binds = {**server.socket_binds, **bench.ours.socket_binds(pg)}
        run = undo.enter_context(client(bench.engine, binds))
        for way in WAYS:
            yield _measure(bench, run, server, pg, load, way)


GROUPS = (
    Group("throughput-select", lambda bench: throughput(bench, LOADS[0])),
    Group("throughput-tpcb", lambda bench: throughput(bench, LOADS[1])),
    Group("throughput-quorum", lambda bench: throughput(bench, LOADS[2])),
    Group("throughput-3-safekeepers", three_safekeepers),
    Group("throughput-checkpoints", checkpoints),
)
