"""kill -9 of the engine, and of everything at once, under a client that writes. On a machine of its own."""

from __future__ import annotations

from functools import partial

from tests.e2e.machine import Machine
from tests.e2e.stack import Stack
from tests.e2e.writer import Writer


def test_a_killed_engine_loses_no_acknowledged_row_and_up_brings_all_back(
    machine: Machine, machine_stack: Stack
) -> None:
    url = machine_stack.url("main")
    writer = Writer(url, "engine_killed")
    writer.wait_for_more()
    machine.kill_engine()
    machine.start_engine()
    writer.stop()
    assert machine_stack.up() == url
    assert writer.lost(partial(machine_stack.sql, "main")) == set()


def test_a_killed_engine_that_was_started_again_is_told_as_a_stack_that_is_not_up(
    machine: Machine, machine_stack: Stack
) -> None:
    """Docker takes what it has to stop at its own start for stopped on purpose: `unless-stopped` doesn't
    bring the controller back (in 20.10; after a power cut it does)."""
    machine.kill_engine()
    machine.start_engine()
    told = machine_stack.run("status")
    if told.code:  # newer engines do bring it back
        assert told.code == 5
        assert "up -d" in told.err


def test_everything_killed_at_once_loses_no_acknowledged_row(machine: Machine, machine_stack: Stack) -> None:
    url = machine_stack.url("main")
    writer = Writer(url, "all_killed")
    writer.wait_for_more()
    machine.cut_power()
    writer.stop()
    machine.start_again()
    assert machine_stack.up() == url
    assert writer.lost(partial(machine_stack.sql, "main")) == set()


def test_a_branch_killed_while_it_settles_opens_with_its_rows_in_the_same_boot(
    machine: Machine, machine_stack: Stack
) -> None:
    machine_stack.cli("branch", "create", "settling", "--from", "main@init")
    writer = Writer(machine_stack.url("settling"))
    writer.wait_for_more(1)
    machine.cut_power()
    writer.stop()
    for marker in machine.volume(f"{machine_stack.name}_work_main").glob("pg/settling/*/marker"):
        marker.unlink()  # as if the kill had come before the sync
    machine.start_again()
    machine_stack.up()
    assert writer.lost(partial(machine_stack.sql, "settling")) == set()
    machine_stack.cli("pg", "stop", "settling")
    machine_stack.cli("branch", "delete", "main/settling", "--discard-writes")
