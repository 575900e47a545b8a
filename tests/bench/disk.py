"""What a branch takes on disk: allocated blocks x 512, counted by `du` and `find` on the engine's host."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg

from tests.bench import datasets
from tests.bench.bench import Bench, Group
from tests.bench.datasets import Dataset
from tests.bench.goals import Goal, Measure, ours_at_most, share_at_most
from tests.bench.ours import Pg
from tests.bench.pairs import Pair
from tests.bench.vanilla import Vanilla

MB = 1e6
_ALL_BLOCKS = "sync -f /x; du -s -B512 /x | cut -f1"
_RELATIONS = (
    "sync -f /x; find /x/data/base /x/data/global -type f -regex '.*/[0-9]+[^/]*' -printf '%b %s\\n'"
    " | awk '{b+=$1; s+=$2} END {print b*512, s}'"
)
_COUNT_EVERY_TABLE = """
do $$ declare t regclass; n bigint; begin
for t in select oid from pg_class where relkind in ('r', 'm') and relnamespace = 'public'::regnamespace loop
execute format('select count(*) from %s', t) into n; end loop; end $$"""

Work = Callable[[psycopg.Connection], None]


def _one_percent(dataset: Dataset) -> Work:
    """The first 1 % of the rows, neighbours on their pages."""

    def work(session: psycopg.Connection) -> None:
        last = dataset.accounts // 100
        session.execute(f"update pgbench_accounts set abalance = abalance + 1 where aid <= {last}")

    return work


def _scattered_percent(session: psycopg.Connection) -> None:
    """Every hundredth row: most pages hold one."""
    session.execute("update pgbench_accounts set abalance = abalance + 1 where aid % 100 = 0")


def _count_all(session: psycopg.Connection) -> None:
    session.execute(_COUNT_EVERY_TABLE)


def _relations(bench: Bench, folder: str) -> tuple[float, float]:
    """(allocated, apparent) bytes of all relation files."""
    allocated, apparent = bench.engine.shell(_RELATIONS, {folder: "/x"}, user="0").split()
    return float(allocated), float(apparent)


def _vanilla_bytes(bench: Bench, floor: Vanilla) -> float:
    return float(bench.engine.shell(_ALL_BLOCKS, {floor.volume: "/x"}, user="0")) * 512


def new_branch(bench: Bench, dataset: Dataset) -> Iterator[Measure]:
    floor_bytes = _vanilla_bytes(bench, bench.floor(dataset))
    storage = bench.prepare(dataset)
    pairs = []
    for _ in range(bench.options.few_pairs):
        with bench.ours.branch(storage) as (pg, _, _):
            blocks = bench.engine.shell(_ALL_BLOCKS, {bench.ours.folder(pg): "/x"}, user="0")
            pairs.append(Pair(floor_bytes / MB, float(blocks) * 512 / MB))
    yield Measure(
        f"disk of a new branch at its first `SELECT 1`, WAL included, {dataset.title}",
        "MB",
        pairs,
        ours_at_most(10, "MB"),
        floor_is="a copy of the data directory",
        discarded=0,
    )


def _own(bench: Bench, pg: Pg, session: psycopg.Connection, work: Work) -> Pair:
    """Bytes of the branch's own pages after `work` and a checkpoint, against the database's before it."""
    _, whole = _relations(bench, bench.ours.folder(pg))
    work(session)
    session.execute("checkpoint")
    own, _ = _relations(bench, bench.ours.folder(pg))
    return Pair(whole / MB, own / MB)


def own_pages(bench: Bench, dataset: Dataset, title: str, work: Work, goal: Goal | None) -> Measure:
    storage = bench.prepare(dataset)
    pairs = []
    for _ in range(bench.options.few_pairs):
        with bench.ours.branch(storage) as (pg, session, _):
            pairs.append(_own(bench, pg, session, work))
    return Measure(
        f"own pages after {title}, {dataset.title}",
        "MB",
        pairs,
        goal,
        floor_is="the whole database",
        discarded=0,
    )


def disk(bench: Bench) -> Iterator[Measure]:
    main = bench.options.main
    yield from new_branch(bench, main)
    yield own_pages(bench, main, "updating the first 1 % of rows", _one_percent(main), share_at_most(3))
    yield own_pages(
        bench, main, "updating every 100th row (no goal: most pages hold one)", _scattered_percent, None
    )
    yield own_pages(bench, main, "`count(*)` of every table", _count_all, share_at_most(1))


def disk_of_many(bench: Bench) -> Iterator[Measure]:
    many = datasets.MANY_RELATIONS
    yield from new_branch(bench, many)
    yield own_pages(bench, many, "`count(*)` of every table", _count_all, share_at_most(1))


GROUPS = (Group("disk", disk), Group("disk-r10000", disk_of_many, quick=False))
