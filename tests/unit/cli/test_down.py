"""`down`: in order, with the controller or without it, and what it never touches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neon_compose.cli import access
from neon_compose.engine import labels
from neon_compose.engine.runtime import ContainerSpec, Mount, NetworkSpec, Publish, VolumeSpec
from neon_compose.errors import Unavailable
from neon_compose.model.names import Name
from neon_compose.model.states import Component
from tests.kills.mortal import Killed, Life, Mortal
from tests.unit.cli.conftest import Cli, Ran
from tests.unit.cli.server import FakeServer
from tests.unit.cli.world import FakeImages, Machine

Down = Callable[..., Ran]
PARTS = {
    "neon_controller": Component.CONTROLLER,
    "neon_storage_main": Component.PAGESERVER,
    "neon_pod_0": Component.POD,
    "neon_minio": Component.MINIO,
    "neon_pg_main": Component.COMPUTE,
    "neon_safekeeper_1": Component.SAFEKEEPER,
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return make_machine(tmp_path / "machine")


def make_machine(folder: Path) -> Machine:
    """A stack that is up, and another one beside it."""
    found = Machine(folder)
    for stack, port in (("neon", 3000), ("other", 3001)):
        marks = labels.resource_labels(stack)
        found.engine.ensure_network(NetworkSpec(f"{stack}_net", f"10.{len(stack)}.0.0/24", labels=marks))
        for volume in ("state", "storage_main"):
            found.engine.ensure_volume(VolumeSpec(f"{stack}_{volume}", marks))
        for name, component in PARTS.items():
            own = name.replace("neon", stack)
            made = ContainerSpec(own, "image", component, labels.component_labels(stack, component))
            if component is Component.CONTROLLER:
                made = replace(made, mounts=(Mount(f"{stack}_state", "/state"),), publish=(Publish(port),))
            found.engine.create(made)
            found.engine.start(own)
    found.engine.calls.clear()
    return found


@pytest.fixture
def down(cli: Cli, server: FakeServer, machine: Machine) -> Down:
    server.stream = [{"result": {"stack": "neon"}}]
    return partial(cli, engine=lambda: machine.engine, images=FakeImages)


def names(machine: Machine, verb: str) -> list[str]:
    return [call.split()[-1] for call in machine.engine.calls if call.startswith(verb)]


def test_it_removes_containers_and_networks_of_its_own_stack_only(down: Down, machine: Machine) -> None:
    assert down("down").code == 0
    containers, networks, volumes = machine.engine.contents()
    assert sorted(containers) == sorted(name.replace("neon", "other") for name in PARTS)
    assert networks == {"other_net"}
    assert {"neon_state", "neon_storage_main"} <= volumes
    assert access.read(Name("neon")) is not None


def test_with_the_controller_dead_the_order_is_kept_all_the_same(down: Down, machine: Machine) -> None:
    machine.engine.end("neon_controller")
    assert down("down").code == 0
    order = ["neon_pg_main", "neon_storage_main", "neon_safekeeper_1", "neon_minio", "neon_pod_0"]
    assert names(machine, "stop ") == order
    assert names(machine, "remove container") == [*order, "neon_controller"]


def test_a_controller_that_does_not_help_is_worked_around(
    down: Down, machine: Machine, server: FakeServer
) -> None:
    server.refuse["POST", "/stack/stop"] = Unavailable("stuck")
    assert down("down").code == 0
    assert "neon_pg_main" in names(machine, "stop ")
    assert not any(name.startswith("neon_") for name in machine.engine.boxes)


def test_twice_is_as_good_as_once(down: Down, machine: Machine) -> None:
    assert down("down").code == 0
    before = machine.engine.contents()
    ran = down("down")
    assert (ran.code, machine.engine.contents()) == (0, before)


def test_deleting_volumes_without_a_terminal_wants_a_yes(down: Down, machine: Machine) -> None:
    before = machine.engine.contents()
    ran = down("down", "-v")
    assert ran.code == 2
    assert "--yes" in ran.err
    assert machine.engine.contents() == before


def test_deleting_volumes_deletes_the_secret_too(down: Down, machine: Machine) -> None:
    assert down("down", "-v", "--yes").code == 0
    _, _, volumes = machine.engine.contents()
    assert {volume for volume in volumes if volume.startswith("neon_")} == set()
    assert {"other_state", "other_storage_main"} <= volumes
    assert access.read(Name("neon")) is None


def test_volumes_of_a_stack_that_is_down_can_be_deleted_later(down: Down, machine: Machine) -> None:
    down("down")
    assert down("down", "-v").code == 2
    assert down("down", "-v", "-y").code == 0
    assert "neon_state" not in machine.engine.contents()[2]


def test_a_dry_run_changes_nothing(down: Down, machine: Machine) -> None:
    before = machine.engine.contents()
    ran = down("down", "-v", "--dry-run")
    assert ran.code == 0
    assert "volume neon_state" in ran.out
    assert machine.engine.contents() == before


class DyingEngine(Mortal):
    """Its user dies before or after one of its changes."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return partial(self._change, name, found) if name in ("stop", "remove", "ensure_volume") else found

    def _change(self, name: str, change: Callable[..., Any], *args: Any) -> None:
        self._life.moment(f"before {name} {args}")
        change(*args)
        self._life.moment(f"after {name} {args}")


@pytest.mark.parametrize("controller", ["helps", "is dead"])
def test_a_down_that_was_cut_off_anywhere_is_finished_by_the_next_one(
    cli: Cli, server: FakeServer, tmp_path: Path, controller: str
) -> None:
    server.stream = [{"result": {"stack": "neon"}}]

    def world(number: int) -> Machine:
        machine = make_machine(tmp_path / f"machine{number}")
        if controller == "is dead":
            machine.engine.end("neon_controller")
        return machine

    def down(machine: Machine, life: Life) -> Ran:
        engine = DyingEngine(machine.engine, life)
        return cli("down", "-v", "--yes", engine=lambda: engine, images=FakeImages)

    uncut = Life()
    assert down(world(0), uncut).code == 0
    assert len(uncut.moments) >= 2 * (len(PARTS) + 3)
    for number, moment in enumerate(uncut.moments, start=1):
        machine = world(number)
        with pytest.raises(Killed):
            down(machine, Life(moment))
        assert down(machine, Life()).code == 0
        assert [one for found in machine.engine.contents() for one in found if one.startswith("neon_")] == []
        assert {"other_state", "other_storage_main"} <= machine.engine.contents()[2]
        assert set(machine.engine.contents()[0]) == {name.replace("neon", "other") for name in PARTS}


def test_a_down_with_its_data_that_was_cut_off_anywhere_leaves_all_of_it_to_the_next_up_or_nothing(
    cli: Cli, server: FakeServer, tmp_path: Path
) -> None:
    """Else the documents of a stack would want data that is gone."""
    server.stream = [{"result": {"stack": "neon"}}]
    seen = set()

    def cut_and_up(number: int, life: Life) -> list[str]:
        """Those of its volumes that went."""
        machine = make_machine(tmp_path / f"machine{number}")
        gone: list[str] = []
        machine.engine.removed_volume = gone.append
        with suppress(Killed):
            engine = DyingEngine(machine.engine, life)
            cli("down", "-v", "--yes", engine=lambda: engine, images=FakeImages)
        images = FakeImages("base", "controller", "pageserver", "safekeeper", "compute", "minio")
        ran = cli("up", "-d", engine=lambda: machine.engine, images=lambda: images, is_free=machine.is_free)
        assert ran.code == 0
        assert {"other_state", "other_storage_main"} <= machine.engine.contents()[2]
        assert "neon_removing" not in machine.engine.contents()[2]
        return sorted(set(gone) - {"neon_removing"})

    uncut = Life()
    cut_and_up(0, uncut)
    for number, moment in enumerate(uncut.moments, start=1):
        gone = cut_and_up(number, Life(moment))
        assert gone in ([], ["neon_state", "neon_storage_main"]), moment
        seen.add(bool(gone))
    assert seen == {True, False}


def test_what_was_confirmed_once_is_not_asked_again(down: Down, machine: Machine) -> None:
    life = Life("after remove (<Kind.VOLUME: 'volume'>, 'neon_storage_main')")
    engine = DyingEngine(machine.engine, life)
    with pytest.raises(Killed):
        down("down", "-v", "--yes", engine=lambda: engine)
    assert down("down", "-v").code == 0
    assert not any(name.startswith("neon_") for name in machine.engine.contents()[2])
