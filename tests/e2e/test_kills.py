"""kill -9, pause, remove, cut off: each container in turn under a client that writes. What status says,
and what brings it back."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.e2e.stack import Stack, opens
from tests.e2e.writer import Writer

EVERYTHING = ("controller", "safekeeper_1", "storage_main", "pod_0", "pg_main")


@pytest.fixture(scope="module")
def stack(module_stack: Stack) -> Stack:
    return module_stack


def kill(container: Any) -> None:
    """From outside, as the kernel's out-of-memory killer does: for the engine it just ended."""
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)


def state_of(stack: Stack, pg: str) -> str:
    return str(stack.json("pg", "show", pg)["state"])


def is_over(stack: Stack, container: str) -> bool:
    """Whether the engine knows that it has ended."""
    return bool(stack.container(container).status == "exited")


def is_failed(stack: Stack, pg: str) -> bool:
    return state_of(stack, pg) == "failed"


@pytest.mark.parametrize("victim", EVERYTHING)
@pytest.mark.parametrize("attack", ["kill", "remove"])
def test_up_mends_a_dead_container_with_every_acknowledged_row(
    stack: Stack, victim: str, attack: str
) -> None:
    url = stack.up()
    writer = Writer(url, f"{attack}_{victim}")
    writer.wait_for_more()
    found = stack.container(victim)
    kill(found) if attack == "kill" else found.remove(force=True)
    if victim in ("pod_0", "pg_main"):
        stack.wait_until(is_failed, stack, "main")
    else:
        writer.wait_for_more()  # no client notices
    assert stack.up() == url
    assert opens(url)
    writer.wait_for_more()
    writer.stop()
    assert writer.lost(partial(stack.sql, "main")) == set()


@pytest.mark.parametrize("victim", EVERYTHING)
def test_up_lets_a_paused_container_go_on(stack: Stack, victim: str) -> None:
    url = stack.up()
    with psycopg.connect(url, autocommit=True) as session:
        stack.container(victim).pause()
        assert stack.up() == url
        assert session.execute("select 1").fetchone() == (1,)
    assert stack.container(victim).status == "running"


@pytest.mark.parametrize("victim", ["safekeeper_1", "storage_main", "pod_0"])
def test_up_brings_a_container_back_into_its_network(stack: Stack, victim: str) -> None:
    url = stack.up()
    (network,) = stack.docker.networks.list(names=[f"{stack.name}_net"])
    network.disconnect(stack.container(victim).id, force=True)
    assert stack.up() == url
    assert opens(url)
    stack.cli("pg", "restart", "main")


def test_a_start_brings_back_a_pageserver_that_died(stack: Stack) -> None:
    stack.up()
    stack.cli("pg", "stop", "main")
    kill(stack.container("storage_main"))
    stack.wait_until(is_over, stack, "storage_main")
    stack.cli("pg", "start", "main")
    assert opens(stack.url("main"))


def test_a_start_in_the_instant_after_a_pageservers_death_brings_it_back(stack: Stack) -> None:
    """The engine says for a moment that it runs."""
    stack.up()
    with stack.http() as http:
        for _ in range(3):
            assert http.post("/pgs/main/actions", json={"action": "stop"}).is_success
            kill(stack.container("storage_main"))
            answer = http.post("/pgs/main/actions", json={"action": "start"})
            assert answer.is_success, answer.text
            assert opens(stack.url("main"))


def test_a_pod_that_was_restarted_says_what_it_costs_and_up_pays_it(stack: Stack) -> None:
    url = stack.up()
    stack.sql("main", "create table over_pod as select 1 as n")
    stack.container("pod_0").restart(timeout=1)
    shown = stack.json("pg", "show", "main")
    assert shown["state"] == "failed"
    assert "pod was restarted" in shown["note"]
    assert stack.up() == url
    assert stack.sql("main", "select n from over_pod") == [(1,)]


def test_a_killed_postmaster_is_a_failed_pg_that_start_brings_back(stack: Stack) -> None:
    url = stack.up()
    writer = Writer(url, "postmaster")
    writer.wait_for_more()
    (postmaster,) = (
        int(pid)
        for _, pid, parent, *_ in stack.container("pg_main").top()["Processes"]
        if int(parent) == stack.container("pg_main").attrs["State"]["Pid"]
    )
    os.kill(postmaster, signal.SIGKILL)
    stack.wait_until(is_failed, stack, "main")
    stack.cli("pg", "start", "main")
    writer.wait_for_more()
    writer.stop()
    assert writer.lost(partial(stack.sql, "main")) == set()


def test_a_volume_in_use_is_not_removed_by_docker(stack: Stack) -> None:
    url = stack.up()
    for volume in stack.docker.volumes.list(filters={"label": f"dev.neon-compose.stack={stack.name}"}):
        with pytest.raises(Exception, match="in use"):
            volume.remove(force=True)
    assert opens(url)
