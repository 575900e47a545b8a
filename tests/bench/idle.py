"""What doing nothing costs: memory of an idle compute and of the idle default stack, and a warm `up -d`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench import SECOND_STACKS, Bench, Group
from tests.bench.goals import Measure, ours_at_most
from tests.bench.ours import Ours
from tests.bench.pairs import Alternation, Sample, Stopwatch, calm
from tests.e2e.stack import Stack

MB = 1e6
_SUFFIX = SECOND_STACKS[0]
_IDLE_S = 1.0
_STACK_IDLE_S, _STACK_IDLE_QUICK_S = 30.0, 5.0  # MinIO gives memory of its start back slowly
_REPEATS = 3
_DEFAULT = Path(__file__).parents[2] / "compose" / "default.yaml"


def compute(bench: Bench) -> Iterator[Measure]:
    """One of each at a time, after a `SELECT 1` and a pause."""
    dataset = bench.options.main
    storage = bench.prepare(dataset)
    server = bench.floor(dataset)

    def floor() -> Sample:
        server.start().close()
        time.sleep(_IDLE_S)
        try:
            return {"pss": bench.engine.pss_bytes([server.container]) / MB}
        finally:
            server.stop()

    def ours() -> Sample:
        with bench.ours.branch(storage) as (pg, session, _):
            session.close()
            time.sleep(_IDLE_S)
            return {"pss": bench.engine.pss_bytes([bench.ours.container(pg)]) / MB}

    pairs = Alternation(floor, ours).run(bench.options.few_pairs)
    yield Measure("idle compute, sum of PSS", "MB", pairs.all_of("pss"), ours_at_most(40, "MB"))


def _default_stack_file() -> str:
    """The default stack, under the bench's own name."""
    lines = _DEFAULT.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("name:")) + "\n"


def _timed_up(other: Ours) -> float:
    calm()
    watch = Stopwatch()
    other.up()
    return watch.ms() / 1000


def default_stack(bench: Bench) -> Iterator[Measure]:
    """A second stack made from the default stack file, MinIO included; images are built already."""
    name = f"{bench.ours.stack.name}{_SUFFIX}"
    stack = Stack(name, bench.work / "default", _default_stack_file())
    other = Ours(stack, bench.engine)
    try:
        yield Measure.alone("`up -d` of a new default stack, images built", "s", [_timed_up(other)])
        yield Measure.alone("`up -d` again, all running", "s", [_timed_up(other) for _ in range(_REPEATS)])
        time.sleep(_STACK_IDLE_QUICK_S if bench.options.quick else _STACK_IDLE_S)
        names = [c.name for c in other.stack.containers() if c.status == "running"]
        each = {name.partition("_")[2]: bench.engine.pss_bytes([name]) / MB for name in names}
        whole = bench.engine.pss_bytes(names) / MB
        goal = ours_at_most(450, "MB")
        measure = Measure.alone("idle default stack, sum of PSS", "MB", [whole], goal)
        measure.notes.update(each)
        yield measure
        other.stack.cli("down")
        yield Measure.alone("`up -d` after `down`", "s", [_timed_up(other)])
    finally:
        other.down()
        bench.engine.remove_everything(other.stack.name)


GROUPS = (Group("idle-compute", compute), Group("idle-stack", default_stack))
