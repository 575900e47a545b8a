"""A Docker engine where none answers: as root on a Debian-like machine, else the commands to type.

Owns the path from a bare machine to an engine that answers, nothing after it. Each step is skipped
when it was done before, so it may be called by every `up`.
"""

from __future__ import annotations

from neon_compose import settings
from neon_compose.engine import packages
from neon_compose.engine.builder import ImageBuilder
from neon_compose.engine.docker_builder import DockerBuilder
from neon_compose.engine.machine import HostMachine, Machine, Poll
from neon_compose.engine.progress import Progress, Say, already, step
from neon_compose.errors import Unavailable
from neon_compose.wait import Deadline, until

PACKAGES = ("docker.io", "iptables", "debootstrap", "ca-certificates")  # the last for registries
LOG = "/var/log/dockerd.log"
SOCKET = "/var/run/docker.sock"
# A machine restored from a snapshot, or a container that was killed, leaves these behind. The engine
# refuses to start when the number in one of them is some other process by now.
PID_FILES = {"/var/run/docker.pid": "dockerd", "/var/run/docker/containerd/containerd.pid": "containerd"}
START_S = 90.0
LOG_LINES = 15


def engine_answers(builder: ImageBuilder | None = None) -> bool:
    """Is there an engine that we may use?"""
    return _version(builder or DockerBuilder()) is not None


def install_engine(
    progress: Progress, builder: ImageBuilder | None = None, machine: Machine | None = None
) -> None:
    """See to it that an engine answers: install what is missing, start it, wait for it.

    Raises `Unavailable` whose hint holds the commands to type when that takes rights we don't have.
    """
    builder, machine = builder or DockerBuilder(), machine or HostMachine()
    version = _version(builder)
    if version is not None:
        already(progress, "engine", f"Docker {version} answers")
        return
    _refuse_what_we_cannot_start(machine)
    if not machine.has("dockerd"):
        with step(progress, "engine packages", f"no Docker engine: installing {', '.join(PACKAGES)}") as say:
            packages.install(PACKAGES, machine, say, otherwise=_by_hand(machine, installed=False))
    with step(progress, "engine", "starting dockerd") as say:
        _start(builder, machine, say)


def _version(builder: ImageBuilder) -> str | None:
    try:
        return builder.ping()
    except Unavailable:
        return None


def _refuse_what_we_cannot_start(machine: Machine) -> None:
    elsewhere = settings.text("DOCKER_HOST")
    if (
        elsewhere
        and not elsewhere.startswith("unix:///var/run/")
        and not elsewhere.startswith("unix:///run/")
    ):
        raise Unavailable(
            "the Docker engine does not answer",
            detail=f'DOCKER_HOST is "{elsewhere}".',
            hint="Start that engine, or unset DOCKER_HOST to use this machine's.",
        )
    if machine.is_root():
        return
    if machine.exists(SOCKET):
        raise Unavailable(
            "the Docker engine does not answer",
            detail=f"It is down, or {SOCKET} is not open to you.",
            hint=f"Type: {_start_command(machine)}; sudo usermod -aG docker $USER  (then log in again)",
        )
    raise Unavailable(
        "no Docker engine answers",
        detail="Installing and starting one needs root.",
        hint=_by_hand(machine, installed=machine.has("dockerd")),
    )


def _start(builder: ImageBuilder, machine: Machine, say: Say) -> None:
    if _has_systemd(machine):
        status, last = machine.run(["systemctl", "start", "docker"], say)
        if status != 0:
            raise Unavailable(
                "systemd could not start docker", detail=last, hint="Type: journalctl -u docker"
            )
        alive: Poll = lambda: None  # noqa: E731
    else:
        for path, program in PID_FILES.items():
            _remove_stale(path, program, machine)
        alive = machine.spawn(["dockerd"], LOG)
    _wait(builder, machine, alive)


def _wait(builder: ImageBuilder, machine: Machine, poll: Poll) -> None:
    def last_words() -> str:
        return "\n".join(machine.read(LOG).splitlines()[-LOG_LINES:])

    def alive() -> None:
        # Another process may have started one in the same moment: then ours dies, and that one answers.
        if (status := poll()) is not None and _version(builder) is None:
            raise Unavailable(
                f"dockerd ended with status {status}", detail=last_words(), hint=f"The whole log is {LOG}."
            )

    until(
        "the Docker engine",
        lambda: _version(builder),
        Deadline.after(START_S),
        alive=alive,
        last_words=last_words,
    )


def _remove_stale(path: str, program: str, machine: Machine) -> None:
    pid = machine.read(path).strip()
    if pid and machine.read(f"/proc/{pid}/comm").strip() != program:
        machine.remove(path)


def _has_systemd(machine: Machine) -> bool:
    return machine.exists("/run/systemd/system")


def _start_command(machine: Machine) -> str:
    return "sudo systemctl start docker" if _has_systemd(machine) else "sudo dockerd &"


def _by_hand(machine: Machine, *, installed: bool) -> str:
    start = _start_command(machine)
    if installed:
        return f"Type: {start}"
    if not machine.has("apt-get"):
        return "Install Docker Engine 20.10 or newer and start it: https://docs.docker.com/engine/install/"
    return f"Type: sudo apt-get update && sudo apt-get install -y {' '.join(PACKAGES)} && {start}"
