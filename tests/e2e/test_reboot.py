"""A machine that loses its power and boots: what comes back by itself, and what must not be trusted.

Power is cut by killing everything at once, and the boot id is another one afterwards. What the kernel had
not written yet survives here, other than with real power; tests/shim has that part.
"""

from __future__ import annotations

import json
import shutil
import threading
from functools import partial
from pathlib import Path

from tests.e2e.machine import Machine
from tests.e2e.stack import Stack, opens
from tests.e2e.writer import Writer


def data_of(machine: Machine, stack: Stack, pg: str) -> Path | None:
    """The folder of a pg's only generation, on the machine's disk."""
    found = list(machine.volume(f"{stack.name}_work_main").glob(f"pg/{pg}/*"))
    return found[0] if found else None


def forget_marker(machine: Machine, stack: Stack, pg: str) -> None:
    """As if the power had failed before the sync that a marker stands for."""
    folder = data_of(machine, stack, pg)
    assert folder is not None
    (folder / "marker").unlink(missing_ok=True)


def is_laid_out(machine: Machine, stack: Stack, pg: str) -> bool:
    folder = data_of(machine, stack, pg)
    record = folder / "compute.json" if folder else None
    return bool(record and record.exists() and json.loads(record.read_text())["stage"] == "laid_out")


def is_ready(stack: Stack) -> bool:
    """Whether the controller has done what it does first."""
    told = stack.run("status", "-o", "json")
    return told.code == 0 and json.loads(told.out)["busy"] is None


def remove(stack: Stack, pg: str) -> None:
    stack.cli("pg", "stop", pg)
    stack.cli("branch", "delete", f"main/{pg}", "--discard-writes")


def test_a_reboot_brings_the_stack_back_by_itself_with_every_acknowledged_row(
    machine: Machine, machine_stack: Stack
) -> None:
    url = machine_stack.url("main")
    writer = Writer(url, "rebooted")
    writer.wait_for_more()
    machine.cut_power()
    writer.stop()
    machine.boot()
    machine_stack.wait_until(opens, url)
    assert writer.lost(partial(machine_stack.sql, "main")) == set()


def test_what_was_stopped_stays_stopped_over_a_reboot(machine: Machine, machine_stack: Stack) -> None:
    machine_stack.cli("branch", "create", "asleep", "--from", "main@init")
    machine_stack.cli("pg", "stop", "asleep")
    url = machine_stack.url("main")
    machine.reboot()
    machine_stack.wait_until(opens, url)
    machine_stack.wait_until(is_ready, machine_stack)
    assert machine_stack.json("pg", "show", "asleep")["state"] == "stopped"
    machine_stack.cli("pg", "start", "asleep")
    remove(machine_stack, "asleep")


def test_data_that_clients_wrote_to_before_it_was_on_disk_is_made_anew_after_a_reboot(
    machine: Machine, machine_stack: Stack
) -> None:
    """Under durability quorum safekeepers have what was acknowledged."""
    machine_stack.cli("branch", "create", "cached", "--from", "main@init")
    machine_stack.sql("cached", "create table written as select 5 n")
    machine.cut_power()
    forget_marker(machine, machine_stack, "cached")
    machine.boot()
    machine_stack.wait_until(is_ready, machine_stack)
    assert machine_stack.sql("cached", "select n from written") == [(5,)]
    machine_stack.cli("pg", "stop", "cached")
    machine_stack.cli("pg", "destroy", "cached")
    machine_stack.cli("branch", "delete", "main/cached")


def test_data_that_only_the_compute_has_and_that_may_not_be_on_disk_is_refused_after_a_reboot(
    machine: Machine, machine_stack: Stack
) -> None:
    local = ("-s", "main", "--from", "main@init", "--durability", "local")
    machine_stack.cli("pg", "create", "doubtful", *local)
    machine_stack.cli("pg", "start", "doubtful")
    machine_stack.sql("doubtful", "create table written (n int)")
    url = machine_stack.url("main")
    machine.cut_power()
    forget_marker(machine, machine_stack, "doubtful")
    machine.boot()
    machine_stack.wait_until(opens, url)  # nobody else suffers
    machine_stack.wait_until(is_ready, machine_stack)
    shown = machine_stack.json("pg", "show", "doubtful")
    assert shown["state"] == "failed"
    assert "its data is doubtful" in shown["note"]
    told = machine_stack.run("status")
    assert "doubtful" in told.out + told.err
    refused = machine_stack.run("pg", "start", "doubtful")
    assert refused.code == 4
    assert 'the data of pg "doubtful" is doubtful' in refused.err
    assert "pg destroy doubtful --discard-writes" in refused.err
    assert machine_stack.run("pg", "destroy", "doubtful").code == 4
    machine_stack.cli("pg", "destroy", "doubtful", "--discard-writes")
    machine_stack.cli("pg", "create", "-n", "doubtful", "-s", "main", "--branch", "doubtful")
    machine_stack.cli("pg", "start", "doubtful")
    machine_stack.sql(
        "doubtful", "select 1"
    )  # what safekeepers had received is there, and nothing promised it
    remove(machine_stack, "doubtful")


def test_data_that_was_laid_out_but_never_opened_is_laid_out_again(
    machine: Machine, machine_stack: Stack
) -> None:
    """The power fails between layout and gate."""
    url = machine_stack.url("main")
    create = ("branch", "create", "unopened", "--from", "main@init")
    client = threading.Thread(target=machine_stack.run, args=create)
    with machine.starts_held():
        client.start()
        machine_stack.wait_until(is_laid_out, machine, machine_stack, "unopened")
        machine.cut_power()
    client.join()
    forget_marker(machine, machine_stack, "unopened")
    folder = data_of(machine, machine_stack, "unopened")
    assert folder is not None
    shutil.rmtree(folder / "data" / "base")  # what a power cut may do to it
    machine.boot()
    machine_stack.wait_until(opens, url)
    machine_stack.wait_until(is_ready, machine_stack)
    machine_stack.cli(*create)
    assert machine_stack.sql("unopened", "select 1") == [(1,)]
    remove(machine_stack, "unopened")
