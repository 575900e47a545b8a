"""How long a branch takes, from the request to the first row; what the CLI adds; how long it takes to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench import datasets
from tests.bench.bench import Bench, Group
from tests.bench.datasets import Dataset
from tests.bench.engine import Engine
from tests.bench.goals import Goal, Measure, added_at_most, ratio_at_most
from tests.bench.pairs import Alternation, Pair, Sample, Stopwatch, calm, calm_inodes
from tests.bench.vanilla import Vanilla

_FREE_FILES = 1000
_MS_PER_FILE = 0.05
_RELATION_FILES = "find /v/data/base /v/data/global -type f -regex '.*/[0-9]+[^/]*' | wc -l"


def relation_files(engine: Engine, floor: Vanilla) -> int:
    return int(engine.shell(_RELATION_FILES, {floor.volume: "/v"}))


def _goal(files: int) -> Goal:
    return ratio_at_most(0.8, max(0, files - _FREE_FILES) * _MS_PER_FILE)


def _vanilla_first_row(floor: Vanilla) -> Sample:
    watch = Stopwatch()
    session = floor.start()
    start = watch.ms()
    session.close()
    watch = Stopwatch()
    floor.stop()
    return {"first_row": start, "gone": watch.ms()}


@dataclass
class _Branches:
    """Our side. Branches are stopped at once but destroyed after the last pair: see `calm_inodes`."""

    bench: Bench
    storage: str
    stopped: list[tuple[str, float]] = field(default_factory=list)

    def first_row(self) -> Sample:
        pg, session, start = self.bench.ours.open_branch(self.storage)
        session.close()
        self.bench.ours.settle(pg)
        self.stopped.append((pg.name, self.bench.ours.stop(pg.name)))
        return {"first_row": start}

    def remove(self) -> list[Sample]:
        """What it took to be rid of each, in the order they were made."""
        samples: list[Sample] = []
        for name, stop in self.stopped:
            steps = {"stop": stop, **self.bench.ours.destroy(name, self.storage)}
            samples.append({"gone": sum(steps.values()), **steps})
        return samples


def first_row(bench: Bench, dataset: Dataset) -> Iterator[Measure]:
    floor = bench.floor(dataset)
    storage = bench.prepare(dataset)
    files = relation_files(bench.engine, floor)
    branches = _Branches(bench, storage)
    calm_inodes()
    pairs = Alternation(lambda: _vanilla_first_row(floor), branches.first_row).run(bench.options.pairs)
    yield Measure(
        f"branch to first `SELECT 1`, {dataset.title} ({files:,} relation files)",
        "ms",
        pairs.all_of("first_row"),
        _goal(files),
        floor_is="vanilla container on an existing data directory",
    )
    removed = branches.remove()[-len(pairs.samples) :]  # the first was made to warm up
    gone = [
        Pair(floor["gone"], ours["gone"]) for (floor, _), ours in zip(pairs.samples, removed, strict=True)
    ]
    steps = {step: [ours[step] for ours in removed] for step in ("stop", "destroy", "delete")}
    yield Measure(
        f"stop, destroy and delete it, {dataset.title}",
        "ms",
        gone,
        floor_is="docker stop and rm, data stays",
        notes=dict(steps),
    )


def cli_adds(bench: Bench) -> Iterator[Measure]:
    """The command against the request it makes."""
    storage = bench.prepare(bench.options.main)

    def drop(name: str) -> None:
        calm()
        bench.ours.drop(name, storage)

    def request() -> Sample:
        name = bench.ours.new_name()
        watch = Stopwatch()
        bench.ours.request_branch(name, storage)
        ms = watch.ms()
        drop(name)
        return {"ms": ms}

    def command() -> Sample:
        name = bench.ours.new_name()
        watch = Stopwatch()
        bench.ours.stack.cli("branch", "create", name, "--from", f"{storage}@import")
        ms = watch.ms()
        drop(name)
        return {"ms": ms}

    pairs = Alternation(request, command).run(bench.options.pairs)
    yield Measure(
        "`neon-compose branch create` against the REST request",
        "ms",
        pairs.all_of("ms"),
        added_at_most(250, "ms"),
        floor_is="PUT /pgs",
    )


def _group(dataset: Dataset, *, quick: bool = False) -> Group:
    return Group(f"branch-{dataset.name}", lambda bench: first_row(bench, dataset), quick)


GROUPS = (
    _group(datasets.SMALL, quick=True),
    _group(datasets.FEW_RELATIONS),
    _group(datasets.MIDDLE),
    _group(datasets.MANY_RELATIONS),
    _group(datasets.LARGE),
    Group("cli", cli_adds),
)
