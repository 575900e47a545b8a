"""Commands cut off half way, and two of them at once: doing it again finishes what was begun."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from neon_compose.wait import Deadline, until
from tests.e2e.conftest import StackMaker
from tests.e2e.stack import PROGRAM, Stack, opens


def begin(stack: Stack, *args: str) -> subprocess.Popen[str]:
    """Start `neon-compose ARGS` in the stack's folder and give the running process."""
    return subprocess.Popen(
        [PROGRAM, *args],
        cwd=stack.folder,
        env=os.environ | {"XDG_STATE_HOME": str(stack.folder / "state")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def names(stack: Stack) -> set[str]:
    """Of its containers, without the stack's own name."""
    return {c.name.removeprefix(f"{stack.name}_") for c in stack.containers()}


def cut_off(running: subprocess.Popen[str], how: signal.Signals) -> str:
    """End it so; gives what it said."""
    running.send_signal(how)
    _, said = running.communicate(timeout=60)
    return said


@pytest.mark.parametrize(
    ("there", "how"),
    [("controller", signal.SIGKILL), ("storage_main", signal.SIGINT), ("pod_0", signal.SIGKILL)],
    ids=lambda x: x if isinstance(x, str) else x.name,
)
def test_an_up_that_was_cut_off_is_finished_by_the_next(
    make_stack: StackMaker, there: str, how: signal.Signals
) -> None:
    stack = make_stack(Stack.SMALL)
    first = begin(stack, "up", "-d")
    until(f"{there} of the first up", lambda: there in names(stack), Deadline.after(120))
    said = cut_off(first, how)
    assert first.returncode == (130 if how == signal.SIGINT else -how), said
    assert "Traceback" not in said
    assert opens(stack.up())
    assert names(stack) == {"controller", "safekeeper_1", "storage_main", "pod_0", "pg_main"}


def test_a_down_with_its_data_that_was_cut_off_is_finished_by_the_next(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    stack.up()
    first = begin(stack, "down", "-v", "--yes")
    until("the controller to be gone", lambda: "controller" not in names(stack), Deadline.after(120))
    cut_off(first, signal.SIGKILL)
    stack.cli("down", "-v", "--yes")
    assert stack.leftovers() == []


def test_after_a_down_with_its_data_that_was_cut_off_between_volumes_up_gives_a_fresh_stack(
    make_stack: StackMaker,
) -> None:
    """Its documents are there still, and want what is gone: somebody's container has the state volume."""
    stack = make_stack(Stack.SMALL)
    stack.up()
    stack.sql("main", "create table old as select 1 n")
    [pod] = stack.containers("pod")
    state = {f"{stack.name}_state": {"bind": "/state", "mode": "ro"}}
    other = stack.docker.containers.create(pod.attrs["Config"]["Image"], volumes=state)
    try:
        ran = stack.run("down", "-v", "--yes")
        assert ran.code != 0
        volumes = {name.removeprefix(f"{stack.name}_") for name in stack.leftovers()}
        assert "state" in volumes
        assert "storage_main" not in volumes
    finally:
        other.remove()
    url = stack.up()
    assert opens(url)
    assert stack.sql("main", "select to_regclass('old')") == [(None,)]
    stack.cli("down", "-v", "--yes")
    assert stack.remains() == []


def test_volumes_that_went_with_their_containers_are_made_as_ours_again(make_stack: StackMaker) -> None:
    """The engine makes a volume that a container names, too, but then nobody knows whose it is."""
    stack = make_stack(Stack.SMALL)
    stack.up()
    stack.cli("down")
    for name in ("work_main", "storage_main"):
        stack.docker.volumes.get(f"{stack.name}_{name}").remove()
    ran = stack.run("up", "-d")
    assert ran.code != 0
    assert "Traceback" not in ran.err
    stack.cli("down", "-v", "--yes")
    assert stack.remains() == []


def test_two_ups_at_once_make_one_stack(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    both = [begin(stack, "up", "-d") for _ in range(2)]
    told = [running.communicate(timeout=300) for running in both]
    assert [running.returncode for running in both] == [0, 0], told
    first, second = (out.strip() for out, _ in told)
    assert first == second
    assert opens(first)
    assert names(stack) == {"controller", "safekeeper_1", "storage_main", "pod_0", "pg_main"}
