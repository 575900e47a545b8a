"""Looking at a stack without its controller's help."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from neon_compose.cli.attached import Wanted, _Reading, follow
from neon_compose.cli.doctor import Verdict, check_disk, check_engine, check_leftovers, check_proxy
from neon_compose.engine import labels
from neon_compose.engine.runtime import ContainerSpec, ContainerState, NetworkSpec, VolumeSpec, World
from neon_compose.model.names import Name
from neon_compose.model.states import Component
from neon_compose.wait import Deadline, now, until
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer
from tests.unit.cli.world import FakeImages, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path / "machine")
    for name, component in (
        ("controller", Component.CONTROLLER),
        ("pg_main", Component.COMPUTE),
        ("pod_0", Component.POD),
    ):
        marks = labels.component_labels("neon", component)
        found.engine.create(ContainerSpec(f"neon_{name}", "image", component, marks))
        found.engine.boxes[f"neon_{name}"].lines += [f"{name} {line}" for line in range(5)]
    return found


def test_logs_are_of_every_container_that_says_something(cli: Cli, machine: Machine) -> None:
    lines = cli("logs", "--tail", "2", engine=lambda: machine.engine).out.splitlines()
    assert lines == [
        "controller | controller 3",
        "controller | controller 4",
        "pg_main | pg_main 3",
        "pg_main | pg_main 4",
    ]


@pytest.mark.parametrize("name", ["pg_main", "neon_pg_main"])
def test_logs_can_be_of_one_container(cli: Cli, machine: Machine, name: str) -> None:
    lines = cli("logs", name, engine=lambda: machine.engine).out.splitlines()
    assert lines == [f"pg_main | pg_main {line}" for line in range(5)]


def test_an_unknown_container_names_the_nearest(cli: Cli, machine: Machine) -> None:
    ran = cli("logs", "pg_mian", engine=lambda: machine.engine)
    assert ran.code == 3
    assert '"pg_main"' in ran.err


def test_following_ends_when_nothing_runs(cli: Cli, machine: Machine) -> None:
    assert cli("logs", "-f", engine=lambda: machine.engine).code == 0


def test_several_containers_or_all_of_a_component_can_be_named(cli: Cli, machine: Machine) -> None:
    for names in (["pg_main", "controller"], ["compute", "neon_controller"]):
        lines = cli("logs", "--tail", "1", *names, engine=lambda: machine.engine).out.splitlines()
        assert lines == ["controller | controller 4", "pg_main | pg_main 4"]
    assert cli("logs", "pg_main", "pg_x", engine=lambda: machine.engine).code == 3


def test_since_takes_all_lines_from_then_on(cli: Cli, machine: Machine) -> None:
    box = machine.engine.boxes["neon_pg_main"]
    box.lines = [f"line {number}" for number in range(300)]
    box.created_at = now() - timedelta(hours=1)
    assert len(cli("logs", "pg_main", engine=lambda: machine.engine).out.splitlines()) == 100
    assert len(cli("logs", "pg_main", "--since", "2h", engine=lambda: machine.engine).out.splitlines()) == 300
    assert cli("logs", "pg_main", "--since", "30m", engine=lambda: machine.engine).out == ""
    assert cli("logs", "--since", "lately", engine=lambda: machine.engine).code == 2


class Lines:
    """What `follow` gives, read by a thread."""

    def __init__(self, machine: Machine, wanted: Wanted) -> None:
        self.seen: list[str] = []
        self._source = follow(machine.engine, Name("neon"), wanted)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for line in self._source:
            self.seen.append(line)

    def wait_for(self, *lines: str) -> None:
        until(
            f"{lines}",
            lambda: self.seen == list(lines),
            Deadline.after(30),
            last_words=lambda: str(self.seen),
        )

    def wait_for_end(self) -> None:
        until("the end", lambda: not self.thread.is_alive(), Deadline.after(30))


@pytest.fixture
def up(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine with its containers running, looked at often."""
    monkeypatch.setattr("neon_compose.cli.attached._LOOK_S", 0.01)
    for name in machine.engine.boxes:
        machine.engine.boxes[name].state = ContainerState.RUNNING
    return machine


def test_following_goes_on_through_restarts_and_tells_nothing_twice(up: Machine) -> None:
    box = up.engine.boxes["neon_pg_main"]
    lines = Lines(up, Wanted(("pg_main",), tail=1))
    expected = ["pg_main | pg_main 4"]
    lines.wait_for(*expected)
    for life in range(3):
        box.lines.append(f"last words {life}")
        up.engine.end("neon_pg_main")
        box.lines.append(f"first words {life}")  # said before anybody looked again
        up.engine.start("neon_pg_main")
        expected += [f"pg_main | last words {life}", f"pg_main | first words {life}"]
        lines.wait_for(*expected)


def test_lines_that_were_written_out_of_turn_are_told_once_each(up: Machine) -> None:
    """Of two lines, one on stdout and one on stderr, the one stamped first may be written last."""
    box = up.engine.boxes["neon_pg_main"]
    box.early.add(len(box.lines) - 1)  # the last one: what is followed next is stamped after another
    lines = Lines(up, Wanted(("pg_main",), tail=2))
    expected = ["pg_main | pg_main 3", "pg_main | pg_main 4"]
    lines.wait_for(*expected)
    for life in range(3):
        box.lines.append(f"last words {life}")
        box.early.add(len(box.lines))
        box.lines.append(f"very last words {life}")
        up.engine.end("neon_pg_main")
        box.early.add(len(box.lines))
        box.lines.append(f"first words {life}")
        up.engine.start("neon_pg_main")
        words = ("last words", "very last words", "first words")
        expected += [f"pg_main | {said} {life}" for said in words]
        lines.wait_for(*expected)


def test_a_log_that_was_rotated_away_meanwhile_is_told_from_its_first_line_on(up: Machine) -> None:
    box, told = up.engine.boxes["neon_pg_main"], queue.Queue[str]()
    container = up.engine.observe("neon").container("neon_pg_main")
    assert container is not None
    reading = _Reading(up.engine, container, Wanted(tail=1), told)
    up.engine.end("neon_pg_main")
    until("the end of the first life", lambda: not reading.busy, Deadline.after(30))
    box.created_at += timedelta(seconds=10)
    box.lines[:] = ["new one", "new two"]
    up.engine.start("neon_pg_main")
    reading.go_on()
    expected = ["pg_main | pg_main 4", "pg_main | new one", "pg_main | new two"]
    assert [told.get(timeout=30) for _ in expected] == expected
    up.engine.end("neon_pg_main")


def test_following_takes_up_what_is_made_meanwhile_from_its_first_line_on(up: Machine) -> None:
    lines = Lines(up, Wanted(tail=0))
    marks = labels.component_labels("neon", Component.COMPUTE)
    up.engine.create(ContainerSpec("neon_pg_new", "image", Component.COMPUTE, marks))
    up.engine.boxes["neon_pg_new"].lines += ["one", "two"]
    up.engine.start("neon_pg_new")
    lines.wait_for("pg_new | one", "pg_new | two")
    for name in list(up.engine.boxes):
        up.engine.end(name)
    lines.wait_for_end()


def test_following_a_stopped_container_waits_while_there_is_a_controller(up: Machine) -> None:
    up.engine.end("neon_pg_main", lines=["bye"])
    lines = Lines(up, Wanted(("pg_main",), tail=1))
    lines.wait_for("pg_main | bye")
    up.engine.start("neon_pg_main")
    up.engine.boxes["neon_pg_main"].lines.append("back")
    lines.wait_for("pg_main | bye", "pg_main | back")
    up.engine.end("neon_pg_main")
    assert lines.thread.is_alive()
    up.engine.end("neon_controller")
    lines.wait_for_end()


def test_a_flood_of_one_container_keeps_no_other_from_being_found(up: Machine) -> None:
    box = up.engine.boxes["neon_controller"]
    lines = Lines(up, Wanted(tail=0))
    marks = labels.component_labels("neon", Component.COMPUTE)
    up.engine.create(ContainerSpec("neon_pg_new", "image", Component.COMPUTE, marks))
    up.engine.start("neon_pg_new")
    up.engine.boxes["neon_pg_new"].lines.append("here")

    def found() -> bool:
        box.lines.append("flood")
        return "pg_new | here" in lines.seen

    until("the new one", found, Deadline.after(30), longest_s=0.005)


def test_ctrl_c_ends_following_with_130(cli: Cli, up: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Iterator[str]:
        yield "pg_main | one"
        raise KeyboardInterrupt

    monkeypatch.setattr("neon_compose.cli.attached.follow", interrupted)
    ran = cli("logs", "-f", engine=lambda: up.engine)
    assert (ran.code, ran.out, ran.err) == (130, "pg_main | one\n", "")


def test_doctor_without_an_engine_says_so_and_looks_no_further(cli: Cli) -> None:
    images = FakeImages()
    images.answers = False
    ran = cli("doctor", "-o", "json", images=lambda: images)
    assert ran.code == 5
    assert [one["verdict"] for one in json.loads(ran.out)] == ["ok", "wrong"]


def test_doctor_finds_a_dead_controller(cli: Cli, machine: Machine) -> None:
    ran = cli(
        "doctor", "-o", "json", engine=lambda: machine.engine, images=FakeImages, is_free=machine.is_free
    )
    found = {one["what"]: one for one in json.loads(ran.out)}
    assert ran.code == 5
    assert found["stack neon"]["verdict"] == "wrong"
    assert "controller" in found["images"]["found"]
    assert found["psql"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        (None, Verdict.WRONG),
        ("19.03.1", Verdict.WRONG),
        ("20.10.24+dfsg1", Verdict.OK),
        ("28.2.2", Verdict.OK),
    ],
)
def test_engines_older_than_20_10_are_wrong(version: str | None, verdict: Verdict) -> None:
    assert check_engine(version).verdict is verdict


def test_parts_of_a_stack_without_a_controller_are_left_over(machine: Machine) -> None:
    assert check_leftovers(machine.engine.observe(None)).verdict is Verdict.OK
    machine.engine.ensure_network(
        NetworkSpec("lost_net", "10.9.0.0/24", labels=labels.resource_labels("lost"))
    )
    found = check_leftovers(machine.engine.observe(None))
    assert found.verdict is Verdict.NOTE
    assert "lost" in found.found
    assert check_leftovers(World()).verdict is Verdict.OK


def test_leftovers_are_what_the_controller_says_and_what_stacks_without_one_have(
    cli: Cli, machine: Machine, server: FakeServer
) -> None:
    left = {"kind": "container", "name": "neon_probe_1", "why": "a probe", "storage_name": None}
    server.leftovers = [left]
    machine.engine.boxes["neon_controller"].state = ContainerState.RUNNING
    machine.engine.ensure_volume(VolumeSpec("neon_state", labels.resource_labels("neon")))
    machine.engine.ensure_volume(VolumeSpec("old_state", labels.resource_labels("old")))
    machine.engine.ensure_volume(VolumeSpec("of-somebody-else"))
    machine.engine.create(
        ContainerSpec("old_pod_0", "image", Component.POD, labels.component_labels("old", Component.POD))
    )
    ran = cli("doctor", "--leftovers", "-o", "json", engine=lambda: machine.engine)
    assert ran.code == 0
    found = json.loads(ran.out)
    assert found[0] == {"stack": "neon", **left}
    assert [(one["stack"], one["kind"], one["name"]) for one in found[1:]] == [
        ("old", "container", "old_pod_0"),
        ("old", "volume", "old_state"),
    ]


def test_leftovers_of_a_stack_whose_controller_is_dead_are_not_made_up(cli: Cli, machine: Machine) -> None:
    ran = cli("doctor", "--leftovers", "-o", "json", engine=lambda: machine.engine)
    assert (ran.code, json.loads(ran.out)) == (0, [])
    assert "controller is created" in ran.err


def test_too_little_disk_is_wrong_and_unknown_is_a_note() -> None:
    def unknown() -> int:
        raise PermissionError("not for you")

    assert check_disk(lambda: 1 << 30).verdict is Verdict.WRONG
    assert check_disk(lambda: 1 << 40).verdict is Verdict.OK
    assert check_disk(unknown).verdict is Verdict.NOTE


def test_the_userland_proxy_is_a_note_unless_it_is_off() -> None:
    assert check_proxy({}).verdict is Verdict.NOTE
    assert check_proxy({"userland-proxy": False}).verdict is Verdict.OK
