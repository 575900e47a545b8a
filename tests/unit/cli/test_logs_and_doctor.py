"""Looking at a stack without its controller's help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neon_compose.cli.doctor import Verdict, check_disk, check_engine, check_leftovers, check_proxy
from neon_compose.engine import labels
from neon_compose.engine.runtime import ContainerSpec, ContainerState, NetworkSpec, VolumeSpec, World
from neon_compose.model.states import Component
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
