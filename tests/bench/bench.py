"""What every group of measures shares: options, both sides, and databases that are made once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench import datasets, vanilla
from tests.bench.datasets import Dataset
from tests.bench.engine import Engine
from tests.bench.goals import Measure
from tests.bench.ours import Ours
from tests.bench.pairs import Stopwatch
from tests.bench.vanilla import Vanilla
from tests.e2e.stack import Stack

SECOND_STACKS = ("d", "t")  # what follows the first stack's name in theirs: removed with it at the end
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """`pairs` that count, the discarded ones come on top; `seconds` of one pgbench run."""

    quick: bool
    pairs: int
    seconds: float
    keep_data: bool = False

    @property
    def main(self) -> Dataset:
        """The database of all measures that aren't about size."""
        return datasets.SMALL if self.quick else datasets.MIDDLE

    @property
    def few_pairs(self) -> int:
        """For what is slow or hardly varies."""
        return 1 if self.quick else max(3, self.pairs // 2)


@dataclass
class Bench:
    options: Options
    engine: Engine
    ours: Ours
    settings: dict[str, str]
    say: Say
    work: Path
    _ready: set[str] = field(default_factory=set)

    def floor(self, dataset: Dataset) -> Vanilla:
        """A vanilla server over the dataset, not started."""
        self.prepare(dataset)
        return Vanilla(self.engine, self._volume(dataset), self.settings)

    @contextmanager
    def fresh_floor(self, dataset: Dataset) -> Iterator[Vanilla]:
        """A vanilla server over a copy of the dataset, which is dropped at the end."""
        self.prepare(dataset)
        copy = self.engine.volume(f"{self.engine.run_name}_{self.ours.new_name()}")
        vanilla.copy_data(self.engine, self._volume(dataset), copy)
        server = Vanilla(self.engine, copy, self.settings)
        try:
            yield server
        finally:
            server.stop()
            self.engine.drop_volume(copy)

    def prepare(self, dataset: Dataset) -> str:
        """Both sides hold the dataset; gives the storage's name."""
        if dataset.name not in self._ready:
            self._make(dataset)
            self._ready.add(dataset.name)
        return dataset.name

    @contextmanager
    def beside(self, suffix: str, stack_file: str) -> Iterator[Bench]:
        """The same against a second stack, over the same databases; `suffix` is one of `SECOND_STACKS`."""
        assert suffix in SECOND_STACKS, suffix
        stack = Stack(f"{self.ours.stack.name}{suffix}", self.work / f"stack-{suffix}", stack_file)
        other = Ours(stack, self.engine)
        try:
            other.up()
            yield replace(self, ours=other, _ready=set())
        finally:
            other.down()
            self.engine.remove_everything(stack.name)

    def _make(self, dataset: Dataset) -> None:
        volume = self._volume(dataset)
        if not self.engine.has_volume(volume):
            watch = Stopwatch()
            self.engine.volume(volume, keep=self.options.keep_data)
            try:
                vanilla.make_data(self.engine, dataset, volume)
            except BaseException:  # a half-made one must not be kept
                self.engine.drop_volume(volume)
                raise
            self.say(f"{dataset.title}: made in {watch.ms() / 1000:.1f} s")
        server = Vanilla(self.engine, volume, self.settings)
        watch = Stopwatch()
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            dump = Path(folder) / f"{dataset.name}.dump"
            server.start().close()
            server.dump(dump)
            server.stop()
            self.say(f"{dataset.title}: dumped in {watch.ms() / 1000:.1f} s")
            watch = Stopwatch()
            self.ours.attach(dataset.name, dump)
        self.say(f"{dataset.title}: imported in {watch.ms() / 1000:.1f} s")

    def _volume(self, dataset: Dataset) -> str:
        return (
            f"neon-bench-data_{dataset.name}"
            if self.options.keep_data
            else f"{self.engine.run_name}_{dataset.name}"
        )


@dataclass(frozen=True)
class Group:
    """A named set of measures; `--only` picks groups by the start of their names."""

    name: str
    run: Callable[[Bench], Iterator[Measure]]
    quick: bool = True  # part of --quick


@contextmanager
def both(bench: Bench, dataset: Dataset) -> Iterator[tuple[Vanilla, ExitStack]]:
    """A running vanilla server, stopped at the end with whatever the stack was given."""
    server = bench.floor(dataset)
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start().close()
        yield server, stack
