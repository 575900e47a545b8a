"""Faults: a writer, and round after round something dies; no acknowledged row is lost, none is there twice.

In CI some seeded rounds; with CHAOS_ROUNDS any number of them (`make chaos`).
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.flipping import flipped_wal
from tests.e2e.stack import Stack
from tests.e2e.writer import Writer

SEED = int(os.environ.get("CHAOS_SEED", "20261128"))
CHAOS_ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "0"))
Fault = Callable[[Stack, random.Random], None]


def kill(stack: Stack, name: str) -> None:
    """From outside, as the kernel's out-of-memory killer does."""
    container = stack.container(name)
    if container.status == "running":
        os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)


def kill_compute(stack: Stack, _: random.Random) -> None:
    kill(stack, "pg_main")


def kill_pageserver(stack: Stack, _: random.Random) -> None:
    kill(stack, "storage_main")


def kill_controller(stack: Stack, _: random.Random) -> None:
    kill(stack, "controller")


def kill_safekeeper(stack: Stack, chance: random.Random) -> None:
    kill(stack, safekeeper(stack, chance))


def kill_all(stack: Stack, _: random.Random) -> None:
    for container in stack.containers():
        kill(stack, container.name.removeprefix(f"{stack.name}_"))


def lose_data_directory(stack: Stack, _: random.Random) -> None:
    """A new term: the compute is laid out again from layers and WAL."""
    stack.container("pg_main").remove(force=True)
    done = stack.container("storage_main").exec_run(["sh", "-c", "rm -rf /work/pg/main/*"])
    assert done.exit_code == 0


def restart(stack: Stack, _: random.Random) -> None:
    stack.cli("pg", "restart", "main")


def lose_safekeeper_volume(stack: Stack, chance: random.Random) -> None:
    """And with the next term its replacement has a say."""
    name = safekeeper(stack, chance)
    stack.container(name).remove(force=True)
    stack.wait_until(_is_back, stack, name)
    stack.container(name).remove(force=True)
    stack.docker.volumes.get(f"{stack.name}_{name}").remove(force=True)
    stack.up()
    lose_data_directory(stack, chance)


def pause_safekeeper(stack: Stack, chance: random.Random) -> None:
    with _writes_go_on(stack):
        stack.container(safekeeper(stack, chance)).pause()


def cut_off_safekeeper(stack: Stack, chance: random.Random) -> None:
    with _writes_go_on(stack):
        network = stack.docker.networks.get(f"{stack.name}_net")
        network.disconnect(f"{stack.name}_{safekeeper(stack, chance)}", force=True)


@contextmanager
def _writes_go_on(stack: Stack) -> Iterator[None]:
    """With one of three away."""
    yield
    stack.sql("main", "create table if not exists meanwhile (n int)")


def _is_back(stack: Stack, name: str) -> bool:
    return any(one.name == f"{stack.name}_{name}" and one.status == "running" for one in stack.containers())


def safekeeper(stack: Stack, chance: random.Random) -> str:
    names: list[str] = sorted(
        one.name.removeprefix(f"{stack.name}_") for one in stack.containers("safekeeper")
    )
    return chance.choice(names)


ONE: tuple[Fault, ...] = (
    kill_compute,
    kill_pageserver,
    kill_controller,
    kill_safekeeper,
    kill_all,
    lose_data_directory,
    restart,
)
THREE: tuple[Fault, ...] = (*ONE, lose_safekeeper_volume, pause_safekeeper, cut_off_safekeeper)


def rounds(faults: tuple[Fault, ...], count: int) -> list[Fault]:
    """Every fault once in a random order, then random ones."""
    chance = random.Random(SEED)
    first = chance.sample(faults, len(faults))
    more = max(count, CHAOS_ROUNDS) - len(first)
    return [*first, *(chance.choice(faults) for _ in range(more))]


@pytest.mark.parametrize(("safekeepers", "faults"), [(1, rounds(ONE, 15)), (3, rounds(THREE, 10))])
def test_no_acknowledged_row_is_lost_whatever_dies(
    make_stack: StackMaker, safekeepers: int, faults: list[Fault]
) -> None:
    stack = make_stack(f"minio: false\nsafekeepers: {safekeepers}\n")
    chance = random.Random(SEED + safekeepers)
    writer = Writer(stack.up())
    stack.sql("main", "create extension amcheck")
    for number, fault in enumerate(faults):
        writer.wait_for_more(chance.randrange(1, 100))
        fault(stack, chance)
        stack.up()
        writer.wait_for_more()
        what = f"round {number}: {fault.__name__}"
        assert writer.lost(partial(stack.sql, "main")) == set(), what
        stack.sql("main", "select bt_index_check('written_pkey', true)")
    writer.stop()
    assert writer.lost(partial(stack.sql, "main")) == set()
    if safekeepers == 3:
        flip_a_byte_of_wal(stack)


def flip_a_byte_of_wal(stack: Stack) -> None:
    """What one safekeeper has damaged is named, and taken from another; where all have, nothing opens."""
    stack.sql("main", "create table hay as select 'straw in the WAL' as t")
    stack.wait_until(_has_flushed, stack, *stack.sql("main", "select pg_current_wal_flush_lsn()::text")[0])
    with ExitStack() as damage:
        for name in ("safekeeper_2", "safekeeper_3"):
            damage.enter_context(flipped_wal(stack, name, "straw in the WAL"))
        with flipped_wal(stack, "safekeeper_1", "straw in the WAL") as segment:
            ran = stack.run("branch", "create", "none", "--from", "main/main")
            named = segment.removesuffix(".partial")
            assert (ran.code, named in ran.err) == (7, True), ran
        stack.cli("branch", "create", "whole", "--from", "main/main")  # the first one has it whole again
        assert stack.sql("whole", "select t from hay") == [("straw in the WAL",)]
    said = stack.container("storage_main").logs().decode()
    for number in (1, 2, 3):
        assert f'safekeeper-{number}: WAL segment "{named}" is damaged at ' in said, said[-4000:]


def _has_flushed(stack: Stack, lsn: str) -> bool:
    """All three of them."""
    query = f"select count(*) from pg_stat_replication where sync_state <> 'async' and flush_lsn >= '{lsn}'"
    return stack.sql("main", query) == [(3,)]
