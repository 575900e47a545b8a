"""A hundred pgs in one list: what `GET /pgs` takes while all of them run and none changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.bench.bench import Bench, Group
from tests.bench.goals import Measure, ours_at_most
from tests.bench.pairs import Stopwatch

_PGS, _QUICK_PGS = 100, 10
_LISTS = 12
_AT_ONCE = 4
_QUIET_S = 20.0  # what a start leaves behind: its sync, statistics, a first checkpoint


def listing(bench: Bench) -> Iterator[Measure]:
    """Branches of the main database, so that each has its thousand files."""
    storage = bench.prepare(bench.options.main)
    count = _QUICK_PGS if bench.options.quick else _PGS
    names = [bench.ours.new_name() for _ in range(count)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            list(pool.map(lambda name: bench.ours.request_branch(name, storage), names))
            time.sleep(_QUIET_S)
            yield Measure.alone(
                f"`GET /pgs` with {count} running pgs",
                "ms",
                [_timed_list(bench, count) for _ in range(_LISTS)],
                ours_at_most(100, "ms"),
            )
        finally:
            list(pool.map(lambda name: bench.ours.drop(name, storage), names))


def _timed_list(bench: Bench, count: int) -> float:
    watch = Stopwatch()
    found = bench.ours.call("GET", "/pgs")
    ms = watch.ms()
    assert sum(one["state"] == "running" for one in found) >= count
    assert all(one["own_bytes"] > 0 for one in found)
    return ms


GROUPS = (Group("list", listing),)
