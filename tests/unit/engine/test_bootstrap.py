"""From a machine without an engine to one that answers, or to the commands to type."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from neon_compose.engine import bootstrap
from neon_compose.errors import Unavailable
from tests.fakes_builder import FakeBuilder, FakeMachine, Told

DEBIAN = ("apt-get",)


@pytest.fixture(autouse=True)
def _this_machines_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)


class Engine(FakeBuilder):
    """Answers once dockerd was started on `machine`, by us or by systemd."""

    def __init__(self, machine: FakeMachine) -> None:
        super().__init__()
        self.machine = machine

    def ping(self) -> str:
        started = self.machine.spawned or ["systemctl", "start", "docker"] in self.machine.ran
        if not started:
            raise Unavailable("the Docker engine does not answer")
        return "20.10.24"


def bare() -> FakeMachine:
    """A Debian where apt-get brings dockerd."""

    def run(argv: Sequence[str]) -> int:
        if "install" in argv:
            machine.programs |= {"dockerd", "debootstrap"}
        return 0

    machine = FakeMachine(programs=DEBIAN, on_run=run)
    return machine


def test_an_engine_that_answers_is_left_alone() -> None:
    machine, told = FakeMachine(), Told()
    bootstrap.install_engine(told, FakeBuilder(), machine)
    assert machine.ran == machine.spawned == []
    assert told.steps[-1].note == "Docker 20.10.24 answers"


def test_a_bare_debian_gets_packages_and_a_running_engine() -> None:
    machine, told = bare(), Told()
    bootstrap.install_engine(told, Engine(machine), machine)
    assert [argv[4:] for argv in machine.ran] == [
        ["update"],
        ["install", "-y", "--no-install-recommends", *bootstrap.PACKAGES],
    ]
    assert machine.spawned == [["dockerd"]]
    assert told.lines() == ["engine packages start", "engine packages done", "engine start", "engine done"]


def test_an_installed_engine_is_only_started() -> None:
    machine = FakeMachine(programs=[*DEBIAN, "dockerd"])
    bootstrap.install_engine(Told(), Engine(machine), machine)
    assert machine.ran == []
    assert machine.spawned == [["dockerd"]]


def test_systemd_starts_it_where_there_is_one() -> None:
    machine = FakeMachine(programs=[*DEBIAN, "dockerd"])
    machine.files["/run/systemd/system"] = ""
    bootstrap.install_engine(Told(), Engine(machine), machine)
    assert machine.ran == [["systemctl", "start", "docker"]]
    assert machine.spawned == []


def test_pid_files_of_processes_that_are_no_engine_are_removed_before_the_start() -> None:
    machine = FakeMachine(programs=["dockerd"])
    machine.files |= dict.fromkeys(bootstrap.PID_FILES, "77")
    machine.files["/proc/77/comm"] = "sshd\n"
    bootstrap.install_engine(Told(), Engine(machine), machine)
    assert not set(bootstrap.PID_FILES) & set(machine.files)


def test_the_pid_file_of_a_living_engine_stays() -> None:
    machine = FakeMachine(programs=["dockerd"])
    machine.files |= {"/var/run/docker.pid": "77", "/proc/77/comm": "dockerd\n"}
    bootstrap.install_engine(Told(), Engine(machine), machine)
    assert "/var/run/docker.pid" in machine.files


def test_an_engine_that_dies_is_told_with_the_end_of_its_log() -> None:
    machine = FakeMachine(programs=["dockerd"], on_spawn=lambda: 1)
    with pytest.raises(Unavailable, match="dockerd ended with status 1") as failed:
        bootstrap.install_engine(Told(), FakeBuilder(answers=False), machine)
    assert failed.value.detail == "level=error msg=oops"


def test_without_root_the_commands_to_type_are_named() -> None:
    machine = FakeMachine(root=False, programs=DEBIAN)
    with pytest.raises(Unavailable) as refused:
        bootstrap.install_engine(Told(), FakeBuilder(answers=False), machine)
    assert refused.value.exit_code == 5
    assert (
        "sudo apt-get install -y docker.io iptables debootstrap ca-certificates && sudo dockerd"
        in refused.value.hint
    )
    assert machine.ran == []


def test_a_socket_that_is_closed_to_us_is_told_with_the_group_to_join() -> None:
    machine = FakeMachine(root=False, programs=["dockerd"])
    machine.files[bootstrap.SOCKET] = ""
    with pytest.raises(Unavailable, match="does not answer") as refused:
        bootstrap.install_engine(Told(), FakeBuilder(answers=False), machine)
    assert "usermod -aG docker" in refused.value.hint


def test_a_machine_without_apt_is_sent_to_dockers_own_instructions() -> None:
    with pytest.raises(Unavailable) as refused:
        bootstrap.install_engine(Told(), FakeBuilder(answers=False), FakeMachine())
    assert "https://docs.docker.com/engine/install/" in refused.value.hint


def test_packages_that_cannot_be_installed_stop_it_with_the_reason() -> None:
    machine = FakeMachine(programs=DEBIAN, on_run=lambda _argv: 100)
    with pytest.raises(Unavailable, match='"apt-get -q update" failed with status 100') as failed:
        bootstrap.install_engine(Told(), FakeBuilder(answers=False), machine)
    assert failed.value.detail == "the last line"


def test_an_engine_elsewhere_is_not_ours_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://far.example:2375")
    machine = FakeMachine(programs=[*DEBIAN, "dockerd"])
    with pytest.raises(Unavailable) as refused:
        bootstrap.install_engine(Told(), FakeBuilder(answers=False), machine)
    assert 'DOCKER_HOST is "tcp://far.example:2375".' in refused.value.detail
    assert machine.spawned == []
