"""`up`: what it makes, in which order, and what it leaves alone."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from neon_compose.cli import access
from neon_compose.cli.access import Access
from neon_compose.engine.runtime import ContainerState, Kind
from neon_compose.errors import Conflict, as_problem
from neon_compose.model.names import Name
from tests.unit.cli.conftest import Cli, Ran
from tests.unit.cli.server import TOKEN, URL, FakeServer
from tests.unit.cli.world import GID, FakeImages, Machine

Up = Callable[..., Ran]
FIRST = ("base", "controller", "pageserver", "safekeeper", "compute")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def images() -> FakeImages:
    return FakeImages(*FIRST, "minio")


@pytest.fixture
def up(cli: Cli, server: FakeServer, machine: Machine, images: FakeImages) -> Up:
    access.forget(Name("neon"))
    server.stream = [{"result": {"stack": "neon"}}]
    parts = {"engine": lambda: machine.engine, "images": lambda: images, "is_free": machine.is_free}
    return partial(cli, **parts)


def config(server: FakeServer, nth: int = -1) -> dict[str, object]:
    body = [call[3] for call in server.changes() if call[1] == "/stack"][nth]
    assert isinstance(body, dict)
    return body


def test_the_url_is_the_only_line_on_stdout(up: Up) -> None:
    ran = up("up", "-d")
    assert ran.code == 0
    assert ran.out == "postgres://neon_admin:p%40ss@127.0.0.1:15432/main\n"
    assert "up in " in ran.err


def test_the_controller_gets_the_socket_and_nothing_secret(up: Up, machine: Machine) -> None:
    up("up", "-d")
    spec = machine.controller()
    assert spec.group_add == (GID,)
    assert [mount.target for mount in spec.mounts] == ["/state", "/var/run/docker.sock"]
    assert [(one.port, one.address, one.host_port) for one in spec.publish] == [(3000, "127.0.0.1", 3000)]
    assert json.loads(spec.env["NEON_IMAGES"]) == {name: f"tag-of-{name}" for name in FIRST}
    assert (spec.restart, spec.read_only, spec.stop_timeout_s) == ("unless-stopped", True, 300)
    assert TOKEN not in repr(spec)
    assert sorted(machine.engine.boxes) == ["neon_controller"]  # no probe is left


def test_url_and_token_are_kept_for_later_calls(up: Up) -> None:
    up("up", "-d")
    assert access.read(Name("neon")) == Access(URL, TOKEN)
    assert stat.S_IMODE(access.path_of(Name("neon")).stat().st_mode) == 0o600


def test_a_warm_up_makes_nothing_anew(up: Up, machine: Machine) -> None:
    up("up", "-d")
    before = dict(machine.engine.boxes)
    machine.engine.calls.clear()
    assert up("up", "-d").code == 0
    assert machine.engine.boxes == before
    assert set(machine.engine.calls) == {"observe"}


def test_another_image_replaces_the_controller_without_stopping_it(
    up: Up, machine: Machine, images: FakeImages
) -> None:
    up("up", "-d")
    machine.engine.calls.clear()
    images.version_of_tags = "newer"
    assert up("up", "-d").code == 0
    assert machine.controller().image == "newer-of-controller"
    assert not [call for call in machine.engine.calls if call.startswith("stop ")]


def test_a_dead_controller_is_started_again(up: Up, machine: Machine) -> None:
    up("up", "-d")
    machine.engine.end("neon_controller")
    assert up("up", "-d").code == 0
    assert machine.engine.boxes["neon_controller"].state is ContainerState.RUNNING


def test_a_controller_that_ends_at_once_is_told_with_its_last_words(up: Up, machine: Machine) -> None:
    machine.controller_dies = True
    ran = up("up", "-d")
    assert (ran.code, ran.out) == (5, "")
    assert "no luck today" in ran.err


def test_minio_is_built_after_the_url_and_then_asked_for(
    up: Up, server: FakeServer, images: FakeImages
) -> None:
    images.built.discard("minio")
    assert up("up", "-d").code == 0
    assert images.asked == ["minio"]
    first, second = config(server, 0), config(server, 1)
    assert (first["config"]["minio"], second["config"]["minio"]) == (False, True)  # type: ignore[index]
    assert "minio" in second["images"]  # type: ignore[operator]


def test_without_minio_in_the_file_nothing_of_it_is_built(
    up: Up, server: FakeServer, images: FakeImages, tmp_path: Path
) -> None:
    images.built.discard("minio")
    (tmp_path / "work/neon-compose.yaml").write_text("name: neon\nminio: false\n")
    up("up", "-d")
    assert images.asked == []
    assert "minio" not in config(server)["images"]  # type: ignore[operator]


def test_the_stack_file_is_sent_whole_with_absolute_paths(up: Up, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "work/neon-compose.yaml").write_text(
        "storages: {main: {path: ../data}}\npgs: {main: {storage_name: main}}"
    )
    up("up", "-d", "--prune")
    body = config(server)
    assert body["prune"] is True
    assert body["config"]["name"] == "work"  # type: ignore[index]
    assert body["config"]["storages"]["main"]["path"] == str(tmp_path / "data")  # type: ignore[index]


def test_a_bad_stack_file_is_refused_before_anything_is_made(
    up: Up, machine: Machine, images: FakeImages, tmp_path: Path
) -> None:
    (tmp_path / "work/neon-compose.yaml").write_text("name: neon\npgs: {a: {}}\nextra: 1\n")
    images.built.clear()
    ran = up("up", "-d")
    assert ran.code == 2
    assert "pgs.a.storage_name" in ran.err
    assert "extra" in ran.err
    assert machine.engine.contents() == ({}, set(), set())
    assert images.asked == []


def test_the_default_stack_says_who_has_its_port_and_makes_nothing(up: Up, machine: Machine) -> None:
    other = up("up", "-d", "--stack", "other")
    assert other.code == 0
    assert machine.controller("other").publish[0].host_port == 3000
    ran = up("up", "-d")
    assert ran.code == 4
    assert "other_controller" in ran.err
    assert "neon_controller" not in machine.engine.boxes


def test_other_stacks_take_the_next_free_port_and_keep_it(up: Up, machine: Machine) -> None:
    machine.taken = {3000, 3001}
    assert up("up", "-d", "--stack", "other").code == 0
    assert machine.controller("other").publish[0].host_port == 3002
    machine.engine.remove(Kind.CONTAINER, "other_controller")
    machine.taken = set()
    assert up("up", "-d", "--stack", "other").code == 0
    assert machine.controller("other").publish[0].host_port == 3002
    assert access.read(Name("other")) == Access("http://127.0.0.1:3002", TOKEN)


def test_a_port_taken_in_the_last_moment_is_no_reason_to_give_up(up: Up, machine: Machine) -> None:
    machine.engine.taken = {3000}  # the engine knows better than the probe
    assert up("up", "-d", "--stack", "other").code == 0
    assert machine.controller("other").publish[0].host_port == 3001


def test_without_an_engine_its_error_is_the_calls(up: Up, images: FakeImages) -> None:
    images.answers = False
    ran = up("up", "-d")
    assert ran.code == 5
    assert "sudo dockerd" in ran.err


def test_a_pg_with_changed_settings_is_told_not_restarted(up: Up, server: FakeServer) -> None:
    server.stream = [{"result": {"stack": "neon", "pgs": [{"name": "main", "restart_needed": True}]}}]
    ran = up("up", "-d")
    assert ran.code == 0
    assert "neon-compose pg restart main" in ran.err


def test_what_could_not_be_brought_up_is_the_calls_error(up: Up, server: FakeServer) -> None:
    problem = as_problem(Conflict("port 16000 is taken", hint="Take another."))
    server.stream = [{"result": {"stack": "neon", "problems": [problem]}}]
    ran = up("up", "-d")
    assert (ran.code, ran.out) == (4, "")
    assert "port 16000 is taken" in ran.err


def test_a_dry_run_of_a_stack_that_is_down_shows_what_it_would_make(up: Up, machine: Machine) -> None:
    ran = up("up", "--dry-run")
    assert ran.code == 0
    assert "neon_controller" in ran.out
    assert machine.engine.contents() == ({}, set(), set())


def test_a_dry_run_of_a_stack_that_is_up_is_the_controllers(up: Up, server: FakeServer) -> None:
    up("up", "-d")
    server.calls.clear()
    assert up("up", "--dry-run").out.startswith("ACTION")
    assert [call[2] for call in server.changes()] == [{"dry_run": "true"}]


def test_what_the_stack_keeps_though_its_file_says_otherwise_is_said(up: Up, server: FakeServer) -> None:
    server.stream = [{"result": {"stack": "neon", "notes": ["the stack keeps its 3 safekeepers"]}}]
    ran = up("up", "-d")
    assert ran.code == 0
    assert "note: the stack keeps its 3 safekeepers" in ran.err


def test_a_lost_state_file_is_written_again_from_the_engine(up: Up) -> None:
    up("up", "-d")
    access.forget(Name("neon"))
    assert up("pg", "list").code == 0
    assert access.read(Name("neon")) == Access(URL, TOKEN)


def test_a_stale_state_file_is_written_again_from_the_engine(up: Up) -> None:
    up("up", "-d")
    access.write(Name("neon"), Access(URL, "stale"))
    assert up("pg", "list").code == 0
    assert access.read(Name("neon")) == Access(URL, TOKEN)


def test_a_stack_that_is_not_up_says_how_to_start_it(up: Up) -> None:
    ran = up("pg", "list", "--stack", "other")
    assert ran.code == 5
    assert "neon-compose --stack other up -d" in ran.err
