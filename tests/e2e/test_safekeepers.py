"""Safekeepers as containers of a stack: they come back by themselves, and go only with its data.

What they do for commits is tested with pgs that want it; the pg here is on its own.
"""

from __future__ import annotations

import os
import re
import signal

import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack, opens

PARTS = "minio: false\nstorages: {main: {}}\npgs: {main: {storage_name: main, durability: local}}\n"
TWO = PARTS + "safekeepers: 2\n"
BOTH = ("safekeeper_1", "safekeeper_2")


def is_healthy(stack: Stack, name: str) -> bool:
    found = {one["name"]: one["healthy"] for one in stack.json("status")["components"]}
    return bool(found.get(f"{stack.name}_{name}"))


def has_started_again(stack: Stack, name: str, started: str) -> bool:
    return bool(stack.container(name).attrs["State"]["StartedAt"] != started) and is_healthy(stack, name)


def identity_of(stack: Stack, name: str) -> str:
    """As it says when it starts."""
    said = stack.container(name).logs().decode()
    found = re.findall(r"safekeeper ([0-9a-f-]{36})", said)
    assert found, said
    return str(found[-1])


def test_one_that_dies_comes_back_without_being_asked(make_stack: StackMaker) -> None:
    stack = make_stack(TWO)
    url = stack.up()
    found = stack.container("safekeeper_1")
    os.kill(found.attrs["State"]["Pid"], signal.SIGKILL)
    stack.wait_until(has_started_again, stack, "safekeeper_1", found.attrs["State"]["StartedAt"])
    assert opens(url)
    assert stack.run("doctor").code == 0


def test_they_are_kept_by_down_and_by_a_file_that_asks_for_fewer(make_stack: StackMaker) -> None:
    stack = make_stack(TWO)
    stack.up()
    before = [identity_of(stack, name) for name in BOTH]
    stack.cli("down")
    (stack.folder / "neon-compose.yaml").write_text(f"name: {stack.name}\n{PARTS}safekeepers: 0\n")
    ran = stack.run("up", "-d")
    assert ran.code == 0, ran.err
    assert "keeps its 2 safekeepers" in ran.err
    assert all(is_healthy(stack, name) for name in BOTH)
    assert [identity_of(stack, name) for name in BOTH] == before


@pytest.mark.parametrize("end", ["stop", "remove"])
def test_one_that_is_stopped_or_removed_by_hand_is_started_again(make_stack: StackMaker, end: str) -> None:
    stack = make_stack(TWO)
    stack.up()
    found = stack.container("safekeeper_2")
    found.stop(timeout=5) if end == "stop" else found.remove(force=True)
    stack.wait_until(is_healthy, stack, "safekeeper_2")
    assert stack.run("doctor").code == 0
