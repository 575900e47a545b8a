"""Real containers: one stack for the session, one for each test that stops or breaks things.

Stacks have names of their own, take ports of their own, and keep the CLI's state in a folder of their
own, so an earlier stack on the machine is neither used nor disturbed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neon_compose.engine import images
from tests.e2e.machine import Machine
from tests.e2e.stack import Stack

StackMaker = Callable[[str], Stack]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.docker)


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[StackMaker]:
    """Makes stacks from stack-file texts; each is taken down, and must leave nothing, at the end."""
    made: list[Stack] = []

    def make(stack_file: str) -> Stack:
        stack = Stack(f"t{uuid.uuid4().hex[:8]}", tmp_path / f"stack{len(made)}", stack_file)
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.down_and_check()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is up, for tests that leave it as they found it (their own pgs and storages)."""
    stack = Stack(f"t{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("shared"), Stack.SMALL)
    stack.up()
    yield stack
    stack.down_and_check()


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack for the tests of one module, which break it and bring it up again."""
    stack = Stack(f"t{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("module"), Stack.SMALL)
    stack.up()
    yield stack
    stack.down_and_check()


@pytest.fixture(scope="session")
def any_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with an engine of its own and our images, for tests that kill, cut off and reboot."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a machine of its own")
    machine = Machine(tmp_path_factory.mktemp("machine"))
    try:
        machine.boot()
        ours = images.ensure(("base", "controller", "pageserver", "safekeeper", "compute"), lambda _: None)
        machine.load_images(list(ours.values()))
        yield machine
    finally:
        machine.scrap()


@pytest.fixture(scope="session")
def machine_stack(any_machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on that machine; `machine` has it up for each test."""
    with any_machine.inside():
        stack = Stack(f"t{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("machine-stack"), Stack.SMALL)
        stack.up()
    yield stack
    with any_machine.inside():
        stack.down_and_check()


@pytest.fixture
def machine(any_machine: Machine, machine_stack: Stack) -> Iterator[Machine]:
    """The machine, on, with `machine_stack` up; the test is on its network and speaks to its engine."""
    any_machine.ensure_on()
    with any_machine.inside():
        machine_stack.up()
        yield any_machine
        any_machine.ensure_on()


@pytest.fixture(scope="session")
def zabbix_sql(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's database: Zabbix's schema and data scripts (173 tables), as one plain SQL file."""
    from tests.e2e.samples import zabbix_sql as fetch

    return fetch(tmp_path_factory.mktemp("zabbix"))
