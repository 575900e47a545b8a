"""Real containers: one stack for the session, one for each test that stops or breaks things.

Stacks have names of their own, take ports of their own, and keep the CLI's state in a folder of their
own, so an earlier stack on the machine is neither used nor disturbed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def zabbix_sql(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's database: Zabbix's schema and data scripts (173 tables), as one plain SQL file."""
    from tests.e2e.samples import zabbix_sql as fetch

    return fetch(tmp_path_factory.mktemp("zabbix"))
