"""Random walks through a stack's life: every order of up, down, start, stop, branch, destroy and kill.

A walk keeps a model beside the stack: which pgs there are, which were asked to run, which rows were
acknowledged in each. After every step the stack must show exactly that.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests import scale
from tests.e2e.stack import Stack

MOST_PGS = 4


@dataclass
class Pg:
    """What the model knows of one pg."""

    runs: bool = True
    rows: list[int] = field(default_factory=list)


class Walk:
    """One stack and its model; each public method named `step_…` is a step when its guard lets it be."""

    def __init__(self, stack: Stack, rng: random.Random) -> None:
        self.stack, self.rng = stack, rng
        self.is_up = True
        self.pgs = {"main": Pg()}
        self.made = 0
        self.told: list[str] = []
        stack.up()
        stack.sql("main", "create table if not exists walked (n int primary key)")

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Those that make sense now."""
        named = [(name[5:], getattr(self, name)) for name in dir(self) if name.startswith("step_")]
        return [(name, step) for name, step in named if name in ("up", "down") or self.is_up]

    def go(self) -> None:
        name, step = self.rng.choice(self.steps())
        self.told.append(name)
        step()
        self.check()

    def check(self) -> None:
        """The stack shows what the model says; every acknowledged row is where it was written."""
        if not self.is_up:
            assert [c.name for c in self.stack.containers() if c.status == "running"] == [], self.told
            return
        shown = {pg["name"]: pg["state"] for pg in self.stack.json("pg", "list")}
        assert shown == {n: "running" if pg.runs else "stopped" for n, pg in self.pgs.items()}, self.told
        for name, pg in self.pgs.items():
            if pg.runs:
                found = self.stack.sql(name, "select n from walked order by n")
                assert [n for (n,) in found] == pg.rows, (name, self.told)

    def _pg(self, **wanted: bool) -> str | None:
        """A pg drawn from those that run, or don't; none if there is none."""
        fitting = [n for n, pg in self.pgs.items() if "runs" not in wanted or pg.runs == wanted["runs"]]
        return self.rng.choice(fitting) if fitting else None

    def step_write(self) -> None:
        if name := self._pg(runs=True):
            rows = self.pgs[name].rows
            n = len(rows) + 1
            self.stack.sql(name, f"insert into walked values ({n})")
            rows.append(n)

    def step_stop(self) -> None:
        if name := self._pg(runs=True):
            self.stack.cli("pg", "stop", name)
            self.pgs[name].runs = False

    def step_start(self) -> None:
        if name := self._pg(runs=False):
            self.stack.cli("pg", "start", name)
            self.pgs[name].runs = True

    def step_restart(self) -> None:
        if name := self._pg(runs=True):
            self.stack.cli("pg", "restart", name)

    def step_branch(self) -> None:
        if len(self.pgs) < MOST_PGS:
            self.made += 1
            name = f"b{self.made}"
            self.stack.cli("branch", "create", name, "--from", "main@init")
            self.stack.sql(name, "create table walked (n int primary key)")
            self.pgs[name] = Pg()

    def step_delete(self) -> None:
        if (name := self._pg()) and name != "main":
            if self.pgs[name].runs:
                self.stack.cli("pg", "stop", name)
            self.stack.cli("branch", "delete", f"main/{name}", "--discard-writes")
            del self.pgs[name]

    def step_down(self) -> None:
        self.stack.cli("down")
        self.is_up = False

    def step_up(self) -> None:
        self.stack.up()
        self.is_up = True
        self.pgs["main"].runs = True  # the stack file names it

    def step_stop_the_controller(self) -> None:
        self.stack.container("controller").stop(timeout=120)
        self.is_up = False

    def step_kill_one_and_up(self) -> None:
        running = [c for c in self.stack.containers() if c.status == "running"]
        os.kill(self.rng.choice(running).attrs["State"]["Pid"], signal.SIGKILL)
        self.step_up()

    def step_kill_all_and_up(self) -> None:
        running = [c for c in self.stack.containers() if c.status == "running"]
        self.rng.shuffle(running)
        for container in running:
            os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)
        self.step_up()


@pytest.mark.chaos
def test_whatever_the_order_the_stack_is_what_was_asked_for(module_stack: Stack) -> None:
    rng = random.Random(scale.seed())
    walk = Walk(module_stack, rng)
    for _ in range(scale.amount(14, 400)):
        walk.go()
    walk.step_up()
    walk.check()
