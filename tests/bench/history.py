"""What history costs: snapshots and branches of a pg under load, and a data directory made anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.bench import Bench, Group
from tests.bench.client import TPC_B, Client, client
from tests.bench.goals import Measure, ours_at_most, ratio_at_least, ratio_at_most
from tests.bench.ours import Pg
from tests.bench.pairs import Alternation, Sample, Stopwatch, calm


@contextmanager
def _load(run: Client, pg: Pg, seconds: float) -> Iterator[dict[str, float]]:
    """TPC-B for that long, begun before the body and over after it; its tps is there at the end."""
    found: dict[str, float] = {}

    def work() -> None:
        found["tps"] = run.pgbench(TPC_B, pg.conninfo, seconds)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def snapshots(bench: Bench) -> Iterator[Measure]:
    storage = bench.prepare(bench.options.main)
    times = []
    with bench.ours.branch(storage) as (pg, _, _), client(bench.engine, {}) as run:
        bench.ours.settle(pg)
        with _load(run, pg, 2 * bench.options.seconds):
            for number in range(bench.options.pairs):
                name = f"{pg.name}-{number}"
                watch = Stopwatch()
                bench.ours.call("PUT", f"/snapshots/{storage}/{name}", {"from": pg.name})
                times.append(watch.ms())
        for number in range(bench.options.pairs):
            bench.ours.call("DELETE", f"/snapshots/{storage}/{pg.name}-{number}")
    yield Measure.alone("snapshot of a pg under TPC-B", "ms", times, ours_at_most(100, "ms"))


def busy_parents(bench: Bench) -> Iterator[Measure]:
    """The floor of the time is a branch of the import; of the parent's tps, the same without a branch."""
    storage = bench.prepare(bench.options.main)
    seconds = max(3.0, bench.options.seconds)
    with bench.ours.branch(storage) as (parent, _, _), client(bench.engine, {}) as run:
        bench.ours.settle(parent)

        def floor() -> Sample:
            with _load(run, parent, seconds) as load:
                pass
            with bench.ours.branch(storage) as (_, _, ms):
                return {"ms": ms, "tps": load["tps"]}

        def ours() -> Sample:
            with _load(run, parent, seconds) as load, bench.ours.branch(storage, parent.name) as (_, _, ms):
                pass
            return {"ms": ms, "tps": load["tps"]}

        pairs = Alternation(floor, ours).run(bench.options.few_pairs)
    title = "branch of a pg under TPC-B"
    yield Measure(
        f"{title}: time", "ms", pairs.all_of("ms"), ratio_at_most(1.5, 1000), floor_is="branch of `import`"
    )
    yield Measure(
        f"{title}: the parent meanwhile", "tps", pairs.all_of("tps"), ratio_at_least(0.9), floor_is="without"
    )


def rebuilds(bench: Bench) -> Iterator[Measure]:
    """A stopped pg whose data directory is removed, against a new branch of the import."""
    storage = bench.prepare(bench.options.main)
    with bench.ours.branch(storage) as (pg, session, _):
        session.execute("update pgbench_accounts set abalance = abalance + 1 where aid <= 10000")

        def floor() -> Sample:
            calm()
            with bench.ours.branch(storage) as (_, _, ms):
                return {"ms": ms}

        def ours() -> Sample:
            bench.ours.stop(pg.name)
            bench.ours.call("POST", f"/pgs/{pg.name}/actions", {"action": "discard-cache"})
            calm()
            return {"ms": bench.ours.start(pg.name)}

        pairs = Alternation(floor, ours).run(bench.options.few_pairs)
    yield Measure(
        "start of a pg whose data directory is lost",
        "ms",
        pairs.all_of("ms"),
        ratio_at_most(1.5),
        floor_is="branch of `import`",
    )


GROUPS = (
    Group("history-snapshot", snapshots),
    Group("history-busy", busy_parents),
    Group("history-rebuild", rebuilds),
)
