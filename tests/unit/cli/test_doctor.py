"""Every kind of trouble has words, and is found by somebody: here, or by the controller."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from neon_compose.cli import access, doctor
from neon_compose.cli.doctor import Finding, Verdict, check_clock
from neon_compose.engine import labels
from neon_compose.engine.runtime import ContainerSpec, Kind, Publish
from neon_compose.errors import NotFound, Unavailable
from neon_compose.model.names import Name
from neon_compose.model.states import Component
from neon_compose.model.troubles import WORDS, Trouble
from tests.unit.cli.conftest import Cli, Programs
from tests.unit.cli.server import FakeServer
from tests.unit.cli.world import FakeImages, Machine
from tests.unit.controller.test_diagnose import SCENES as OF_CONTROLLER

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass
class Scene:
    """A stack that is up and well, to be broken."""

    machine: Machine
    server: FakeServer
    images: FakeImages
    programs: Programs
    patch: pytest.MonkeyPatch

    @property
    def controller(self) -> str:
        return "neon_controller"


@pytest.fixture
def scene(tmp_path: Path, server: FakeServer, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Scene:
    machine = Machine(tmp_path / "machine")
    marks = labels.component_labels("neon", Component.CONTROLLER)
    spec = ContainerSpec("neon_controller", "image", Component.CONTROLLER, marks, publish=(Publish(3000),))
    machine.engine.program = lambda _: None
    machine.engine.create(spec)
    machine.engine.start(spec.name)
    images = FakeImages(*doctor.FIRST_IMAGES, doctor.LATER_IMAGE)
    monkeypatch.setattr(doctor, "_daemon_settings", lambda: {"userland-proxy": False})
    monkeypatch.setattr(doctor, "_free_bytes", lambda: 1 << 40)
    return Scene(machine, server, images, programs, monkeypatch)


def examined(cli: Cli, scene: Scene) -> list[dict[str, str]]:
    ran = cli(
        "doctor", "-o", "json",
        engine=lambda: scene.machine.engine, images=lambda: scene.images, is_free=scene.machine.is_free,
        which=scene.programs.which,
    )  # fmt: skip
    rows: list[dict[str, str]] = json.loads(ran.out)
    assert ran.code == (5 if any(one["verdict"] == Verdict.WRONG for one in rows) else 0)
    return rows


def old_engine(scene: Scene) -> None:
    scene.patch.setattr(scene.images, "version", lambda: "19.03.1")


def no_engine(scene: Scene) -> None:
    scene.images.answers = False


def unseen_disk(scene: Scene) -> None:
    def unseen() -> int:
        raise PermissionError("not for you")

    scene.patch.setattr(doctor, "_free_bytes", unseen)


def other_on_3000(scene: Scene) -> None:
    scene.machine.engine.remove(Kind.CONTAINER, scene.controller)
    scene.machine.taken.add(3000)


def left_over(scene: Scene) -> None:
    marks = labels.component_labels("lost", Component.POD)
    scene.machine.engine.create(ContainerSpec("lost_pod_0", "image", Component.POD, marks))


def foreign_name(scene: Scene) -> None:
    scene.machine.engine.remove(Kind.CONTAINER, scene.controller)
    scene.machine.engine.create(ContainerSpec(scene.controller, "somebody-elses"))


def silent(scene: Scene) -> None:
    scene.server.refuse["GET", "/findings"] = Unavailable("nobody answers")


SCENES: dict[Trouble, Callable[[Scene], object]] = {
    Trouble.ENGINE_GONE: no_engine,
    Trouble.ENGINE_OLD: old_engine,
    Trouble.IMAGE_MISSING: lambda scene: scene.images.built.clear(),
    Trouble.API_PORT_TAKEN: other_on_3000,
    Trouble.DISK_FULL: lambda scene: scene.patch.setattr(doctor, "_free_bytes", lambda: 1 << 20),
    Trouble.DISK_UNKNOWN: unseen_disk,
    Trouble.CLOCK_OFF: lambda scene: setattr(scene.server, "now", NOW - timedelta(days=3000)),
    Trouble.PROXY_ON: lambda scene: scene.patch.setattr(doctor, "_daemon_settings", dict),
    Trouble.NO_PSQL: lambda scene: scene.programs.there.clear(),
    Trouble.LEFTOVER: left_over,
    Trouble.NOT_UP: lambda scene: scene.machine.engine.remove(Kind.CONTAINER, scene.controller),
    Trouble.CONTROLLER_ENDED: lambda scene: scene.machine.engine.end(scene.controller),
    Trouble.CONTAINER_PAUSED: lambda scene: scene.machine.engine.pause(scene.controller),
    Trouble.CONTROLLER_SILENT: silent,
    Trouble.TOKEN_READABLE: lambda _: access.path_of(Name("neon")).chmod(0o644),
    Trouble.NAME_TAKEN: foreign_name,
}


def test_a_stack_that_is_well_has_nothing_to_tell(cli: Cli, scene: Scene) -> None:
    assert [one for one in examined(cli, scene) if one["verdict"] != Verdict.OK] == []


@pytest.mark.parametrize("kind", SCENES)
def test_each_kind_is_found_with_its_words(cli: Cli, scene: Scene, kind: Trouble) -> None:
    SCENES[kind](scene)
    one = {row["kind"]: row for row in examined(cli, scene)}[kind]
    assert one["verdict"] == (Verdict.WRONG if WORDS[kind].wrong else Verdict.NOTE)
    assert one["found"]
    assert one["means"] == WORDS[kind].means
    assert one["hint"]
    assert "{stack}" not in one["hint"]


@pytest.mark.parametrize("kind", Trouble)
def test_every_kind_has_words_and_somebody_finds_it(kind: Trouble) -> None:
    words = WORDS[kind]
    assert words.means.endswith(".")
    assert words.hint
    fields = {
        field for text in (words.means, words.hint) for _, field, _, _ in string.Formatter().parse(text)
    }
    assert fields - {None} <= {"stack", "name"}
    assert kind in SCENES or kind in OF_CONTROLLER


def test_what_the_controller_finds_is_printed_with_its_own_words(cli: Cli, scene: Scene) -> None:
    scene.server.findings = [
        {"kind": "of_a_newer_controller", "name": "neon_pg_main", "found": "it is odd",
         "means": "Something new.", "hint": "Do that.\nOr this.", "wrong": True}
    ]  # fmt: skip
    ran = cli(
        "doctor",
        engine=lambda: scene.machine.engine,
        images=lambda: scene.images,
        is_free=scene.machine.is_free,
    )
    assert ran.code == 5
    assert (
        "wrong  neon_pg_main: it is odd\n       Something new.\n       hint: Do that.\n       Or this.\n"
        in ran.out
    )


def test_an_older_controller_that_finds_nothing_itself_still_has_its_problems_told(
    cli: Cli, scene: Scene
) -> None:
    scene.server.refuse["GET", "/findings"] = NotFound("no such route")
    scene.server.problems = ["pg main: port 15432 is taken"]
    (one,) = [row for row in examined(cli, scene) if row["verdict"] != Verdict.OK]
    assert (one["kind"], one["found"]) == (Trouble.NOT_BROUGHT_UP, "pg main: port 15432 is taken")


def test_a_clock_is_off_only_by_more_than_the_question_took() -> None:
    def off(seconds: float) -> Finding:
        return check_clock(NOW + timedelta(seconds=seconds), NOW, NOW + timedelta(seconds=20))

    assert [off(one).verdict for one in (-4, 0, 24)] == [Verdict.OK] * 3
    assert [off(one).kind for one in (-6, 26)] == [Trouble.CLOCK_OFF] * 2
    assert "behind" in off(-6).found
    assert "ahead" in off(26).found
