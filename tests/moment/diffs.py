"""Diffs of moments against what the pages of both really are, read by the server of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from neon_compose.compute.paths import ComputePaths
from neon_compose.errors import Corrupt, Unavailable
from neon_compose.layer.history import stack_for
from neon_compose.objectstore.documents import Point
from neon_compose.pageserver.diffing import Differ, Side
from neon_compose.pageserver.jobs import Job
from neon_compose.pageserver.moments import Start
from neon_compose.pageserver.visiting import SESSION, Visits
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.server import Cluster
from neon_compose.postgres.versions import version
from neon_compose.wire.diff import Change, DatabaseDiff, Diff, TableDiff
from tests.moment.damage import flipped
from tests.moment.grown import Branch, grown
from tests.moment.world import World
from tests.power.server import connect

Hashes = dict[str, list[str]]  # of the pages, by table

_PAGES = """
SELECT relname, get_raw_page(oid::regclass::text, block::int8)
FROM pg_class LEFT JOIN generate_series(0, pg_relation_size(oid) / 8192 - 1) block ON true
WHERE relkind IN ('r', 'S') AND relpersistence = 'p' AND relnamespace = 'public'::regnamespace
ORDER BY oid, block"""
_CHECKSUM = slice(8, 10)  # of a page; set when it is written, and follows from the rest of it


@dataclass(frozen=True)
class AtNames:
    """The moments that were noted, as snapshots."""

    world: World
    branch: Branch

    def start(self, _: str | None, name: object) -> Start:
        lsn = next(one.lsn for one in self.world.noted() if one.name == name)
        main = self.branch.main()
        return Start(Point(main.branch_id, lsn), stack_for(self.branch.ages.of(main.layers), lsn), None)


@contextmanager
def differ(world: World, branch: Branch, wal: Path | None = None) -> Iterator[Differ]:
    """Nothing may be left when it ends."""
    scratch = branch.store.root / "scratch"
    visits = Visits(
        branch.store,
        branch.tips,
        lambda _, lsn: Cut(wal or world.wal, lsn),
        world.shim,
        world.maps,
        world.layers,
        lambda home, environment: Cluster(version(17), home, environment, SESSION),
    )
    yield Differ("shop", branch.store, AtNames(world, branch), visits, scratch)  # type: ignore[arg-type]
    assert not list(scratch.iterdir())


def diffed(one: Differ, before: str, after: str) -> Diff:
    return one.diff(Side(None, before), Side(None, after), Job(print))  # type: ignore[arg-type]


def pages_at(world: World, name: str) -> Hashes:
    lsn = next(one.lsn for one in world.noted() if one.name == name)
    paths = world.laid_out("branch", world.tip(), Cut(world.wal, lsn))
    with world.running(paths):
        return _pages(paths)


def _pages(paths: ComputePaths) -> Hashes:
    """Of every page, as the server sees it."""
    found: Hashes = {}
    with closing(connect(paths.root)) as session:
        session.execute("CREATE EXTENSION pageinspect")
        for table, content in session.execute(_PAGES.encode()).fetchall():
            hashes = found.setdefault(f"public.{table}", [])
            if content is not None:
                page = bytearray(content)  # type: ignore[call-overload]
                page[_CHECKSUM] = b"00"
                hashes.append(hashlib.sha256(page).hexdigest())
    return found


def _changed(before: list[str], after: list[str]) -> int:
    in_both = sum(a != b for a, b in zip(before, after, strict=False))
    return in_both + abs(len(before) - len(after))


def check(found: Diff, old: Hashes, new: Hashes) -> None:
    """Of tables that kept their file exactly the pages differ that are reported, and no other table does."""
    database = of(found, "postgres")
    told = {one.name: one for one in database.tables}
    for table in sorted(old.keys() & new.keys()):
        one, really = told.pop(table, None), _changed(old[table], new[table])
        print(f"{table}: {one.change if one else 'same'}, {really} pages differ")
        if one is None:
            assert not really, table
        elif one.change is Change.CHANGED:
            assert (one.pages.before, one.pages.after) >= (len(old[table]), len(new[table]))
            toast = one.pages.before - len(old[table]), one.pages.after - len(new[table])
            assert one.pages.changed == really or any(toast), (table, one, really)
        else:
            assert one.change is Change.REWRITTEN, one
            assert one.pages.changed == max(one.pages.before, one.pages.after)
    assert {name for name, one in told.items() if one.change is Change.ADDED} == new.keys() - old.keys()
    assert {name for name, one in told.items() if one.change is Change.REMOVED} == old.keys() - new.keys()


def of(found: Diff, name: str) -> DatabaseDiff:
    return next(one for one in found.databases if one.name == name)


def table(found: Diff, name: str) -> TableDiff | None:
    return next((one for one in of(found, "postgres").tables if one.name == name), None)


# ---- scenarios

_PAIRS = [
    ("first commit", "truncated and dropped"),
    ("shrunk and rewritten", "a large table"),
]


def diff_is_what_differs(world: World) -> None:
    """What is reported is what the pages of both moments are, without layers in between and over them."""
    pages = {name: pages_at(world, name) for name in {name for pair in _PAIRS for name in pair}}
    with grown(world) as branch, differ(world, branch) as one:
        plain = [diffed(one, *pair) for pair in _PAIRS]
        for found, (before, after) in zip(plain, _PAIRS, strict=True):
            check(found, pages[before], pages[after])
        for name in ("truncated and dropped", "prepared", "a large table"):
            branch.redo(next(noted.lsn for noted in world.noted() if noted.name == name))
        over_layers = [diffed(one, *pair) for pair in _PAIRS]
        assert [found.databases for found in over_layers] == [found.databases for found in plain]


def diff_tells_ddl_and_databases(world: World) -> None:
    with grown(world) as branch, differ(world, branch) as one:
        found = diffed(one, "rows", "prepared")
        ddl = of(found, "postgres").ddl.splitlines()
        assert ddl[0].startswith("--- shop/main@")
        assert ddl[0].endswith(" postgres")
        assert "-CREATE TABLE public.dropped (" in ddl
        assert "+CREATE TABLE public.made (" in ddl
        assert of(found, "copied").change is Change.ADDED
        assert table(found, "pg_catalog.pg_largeobject") is not None
        back = diffed(one, "prepared", "first commit")
        assert of(back, "copied").change is Change.REMOVED
        assert "-CREATE TABLE public.made (" in of(back, "postgres").ddl.splitlines()
        same = diffed(one, "rows", "rows")
        assert (same.databases, same.before) == ([], same.after)
        rows = diffed(one, "first commit", "rows")
        assert [(one.name, one.ddl) for one in rows.databases] == [("postgres", "")]
        assert [one.name for one in of(rows, "postgres").tables] == ["public.kept"]


def diff_that_fails_leaves_nothing(world: World) -> None:
    """A moment that doesn't open, and a request that is called off at each of its steps."""
    with grown(world) as branch:
        end = next(noted.lsn for noted in world.noted() if noted.name == "rows")
        with differ(world, branch, flipped(world, end.value - 10)) as one:
            try:
                diffed(one, "first commit", "rows")
            except Corrupt as error:
                assert error.code == "not_at_moment"  # noqa: PT017
            else:
                raise AssertionError("it opened short of the moment")
        with differ(world, branch) as one:
            for events in (1, 3, 5):  # each opens, then both are compared
                _called_off(one, events)


def _called_off(one: Differ, events: int) -> None:
    """By a client that leaves when it has heard so much."""
    heard: list[object] = []

    def emit(event: object) -> None:
        heard.append(event)
        if len(heard) == events:
            job.cancel()

    job = Job(emit)
    try:
        one.diff(Side(None, "first commit"), Side(None, "rows"), job)  # type: ignore[arg-type]
    except Unavailable as error:
        assert error.code == "cancelled"  # noqa: PT017
    else:
        raise AssertionError(f"it went on after {heard}")
    assert not servers(), heard


def servers() -> list[str]:
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    return [str(line) for line in lines if b"/postgres" in line]


SCENARIOS = (diff_is_what_differs, diff_tells_ddl_and_databases, diff_that_fails_leaves_nothing)
