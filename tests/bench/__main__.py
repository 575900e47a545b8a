"""`python -m tests.bench [--quick] [--only GROUP]…`: measure, print the table, write the JSON.

Progress goes to stderr, the table to stdout. A group that fails is reported and the others still run;
Ctrl-C keeps what was measured so far. Whatever the bench made is removed at the end.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import traceback
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import (
    branch,
    disk,
    fresh,
    history,
    idle,
    layers,
    machine,
    many,
    receiving,
    report,
    throughput,
    vanilla,
)
from tests.bench.bench import SECOND_STACKS, Bench, Group, Options
from tests.bench.engine import Engine
from tests.bench.goals import Measure
from tests.bench.ours import Ours
from tests.bench.pairs import Stopwatch
from tests.e2e.stack import Stack

GROUPS: tuple[Group, ...] = (
    *branch.GROUPS,
    *disk.GROUPS,
    *fresh.GROUPS,
    *throughput.GROUPS,
    *receiving.GROUPS,
    *history.GROUPS,
    *layers.GROUPS,
    *many.GROUPS,
    *idle.GROUPS,
)
_FULL_PAIRS, _FULL_S = 12, 5.0
_QUICK_PAIRS, _QUICK_S = 2, 1.0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    names = ", ".join(group.name for group in GROUPS)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", epilog=f"groups: {names}")
    parser.add_argument("--quick", action="store_true", help="few pairs, pgbench scale 7 only")
    parser.add_argument(
        "--only", action="append", default=[], metavar="GROUP", help="start of a group's name"
    )
    parser.add_argument("--pairs", type=int, help="pairs that count (default 12, quick 2)")
    parser.add_argument("--seconds", type=float, help="of one pgbench run (default 5, quick 1)")
    parser.add_argument("--keep-data", action="store_true", help="keep vanilla's databases for the next run")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="folder of the JSON")
    arguments = parser.parse_args(argv)
    unknown = [x for x in arguments.only if not any(group.name.startswith(x) for group in GROUPS)]
    if unknown:
        parser.error(f"no group starts with {', '.join(unknown)}; groups: {names}")
    return arguments


def _options(arguments: argparse.Namespace) -> Options:
    quick = arguments.quick
    return Options(
        quick=quick,
        pairs=arguments.pairs or (_QUICK_PAIRS if quick else _FULL_PAIRS),
        seconds=arguments.seconds or (_QUICK_S if quick else _FULL_S),
        keep_data=arguments.keep_data,
    )


def chosen(only: Sequence[str], quick: bool) -> list[Group]:
    """Named groups run even if --quick would leave them out."""
    if only:
        return [group for group in GROUPS if any(group.name.startswith(x) for x in only)]
    return [group for group in GROUPS if group.quick or not quick]


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def measure_all(bench: Bench, groups: Sequence[Group], measures: list[Measure]) -> list[str]:
    """Append to `measures` as they come; gives the names of groups that failed."""
    failed = []
    for group in groups:
        watch = Stopwatch()
        try:
            for measure in group.run(bench):
                measures.append(measure)
                say(report.row(measure))
        except Exception:  # the report is worth more with the other groups in it
            failed.append(group.name)
            say(f"{group.name} failed\n{traceback.format_exc()}")
        say(f"{group.name}: {watch.ms() / 1000:.0f} s")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = f"bench{uuid.uuid4().hex[:6]}"
    measures: list[Measure] = []
    failed = ["interrupted"]
    about: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix=f"{run}-") as folder:
        try:
            bench = _open(run, Path(folder), options)
            about = {
                "machine": machine.describe(bench.engine),
                "options": asdict(options),
                "settings": bench.settings,
            }
            failed = measure_all(bench, chosen(arguments.only, options.quick), measures)
        except KeyboardInterrupt:
            say("interrupted; what was made is removed")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            _remove(run, Path(folder))
    print(report.table(measures))
    path = arguments.out / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    report.write(path, {**about, "failed": failed}, measures)
    say(f"written to {path}")
    return 1 if failed else 0


def _open(run: str, folder: Path, options: Options) -> Bench:
    """Bring the stack up and read the settings that vanilla is to have."""
    watch = Stopwatch()
    stack = Stack(run, folder / "stack", Stack.SMALL)
    url = stack.up()
    say(f"stack {run} is up after {watch.ms() / 1000:.1f} s")
    settings = vanilla.same_settings(url)
    engine = Engine(run)
    return Bench(options, engine, Ours(stack, engine), settings, say, folder)


def _remove(run: str, folder: Path) -> None:
    stack = Stack(run, folder / "stack", Stack.SMALL)
    if stack.leftovers():
        stack.run("down", "-v", "--yes")
    engine = Engine(run, image="none")
    for name in (run, *(f"{run}{suffix}" for suffix in SECOND_STACKS)):
        engine.remove_everything(name)


if __name__ == "__main__":
    sys.exit(main())
