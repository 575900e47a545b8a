"""A machine of a test's own, with a Docker engine of its own: to be killed, cut off and rebooted.

It is a set of namespaces: process ids (killing process 1 kills everything in it at once, as a power cut
does), network (bridge, iptables and published ports are its own), mounts (a /run of its own, so engine,
containerd and socket are at their usual places). Disks outlive it: the engine's data in `folder`. It boots
with a boot id of its own. What runs inside `machine.inside()` is on its network, and DOCKER_HOST names
its engine. Nothing of it touches the engine, the network or the processes of the machine under it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from neon_compose.wait import Deadline, until

_HERE = Path(__file__).parent
_CLONE_NEWNET = 0x40000000
_OWN_NETWORK = Path("/proc/thread-self/ns/net")
_ENGINE_S = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"  # a link to the real one, which each boot makes anew
        self.boot_id = folder / "boot-id"
        self._init: subprocess.Popen[str] | None = None
        self._engine: subprocess.Popen[bytes] | None = None
        self._visitor: int | None = None  # the thread that is inside
        folder.mkdir(parents=True, exist_ok=True)
        runtime = folder / "runtime"
        script = _HERE / "machine_runtime.py"
        runtime.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {script} {self.boot_id} "$@"\n')
        runtime.chmod(0o755)

    # ---- power

    def boot(self) -> None:
        """From nothing, or what a power cut left on disk, to an engine that answers."""
        self.boot_id.write_text(f"{uuid.uuid4()}\n")
        self.start_again()

    def start_again(self) -> None:
        """As `boot`, in the boot before: everything was killed, but the kernel lives."""
        assert self._init is None, "it runs"
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command += [sys.executable, "-I", str(_HERE / "machine_init.py")]
        with self.log.open("ab") as log:
            self._init = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "up\n", "the machine's namespaces could not be made"
        self.socket.unlink(missing_ok=True)
        self.socket.symlink_to(f"/proc/{self._pid}/root/run/docker.sock")
        self._enter()
        self.start_engine()

    def ensure_on(self) -> None:
        if self._init is None:
            self.boot()
        elif self._engine is None:
            self.start_engine()

    def cut_power(self) -> None:
        """SIGKILL for all: containers, shims, containerd, the engine. Returns when none is left."""
        if self._init is not None:
            with Path(f"/proc/{self._pid}/ns/pid").open() as held:
                subprocess.run(["kill", "-KILL", str(self._pid)], check=True)
                self._init.communicate()
                until("the machine to be dead", lambda: not _in_namespace(held.fileno()), Deadline.after(30))
            self._init = None
        if self._engine is not None:
            self._engine.wait()
            self._engine = None

    def reboot(self) -> None:
        self.cut_power()
        self.boot()

    def scrap(self) -> None:
        self.cut_power()
        shutil.rmtree(self.folder)

    # ---- the engine

    def start_engine(self) -> None:
        assert self._engine is None, "it runs"
        command = ["dockerd", "--data-root", str(self.folder / "docker")]
        command += ["--add-runtime", f"machine={self.folder / 'runtime'}", "--default-runtime", "machine"]
        with self.log.open("ab") as log:
            self._engine = subprocess.Popen(self._within(*command), stdout=log, stderr=log)
        until("the machine's engine", self._answers, Deadline.after(_ENGINE_S), alive=self._engine_lives)

    def kill_engine(self) -> None:
        """SIGKILL for dockerd alone."""
        assert self._engine is not None, "it doesn't run"
        pid = Path(f"/proc/{self._pid}/root/run/docker.pid").read_text()
        subprocess.run(self._within("kill", "-KILL", pid), check=True)
        self._engine.wait()
        self._engine = None

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    @contextmanager
    def starts_held(self) -> Iterator[None]:
        """Containers are created but don't start, until the end or a power cut."""
        hold = self.folder / "hold-starts"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def load_images(self, tags: list[str]) -> None:
        """Copy images of the engine this machine stands on; layers they share go once."""
        here, there = docker.APIClient(timeout=600), docker.APIClient(f"unix://{self.socket}", timeout=600)
        with here._get(here._url("/images/get"), params={"names": tags}, stream=True) as saved:
            saved.raise_for_status()
            chunks = saved.iter_content(1 << 20)
            there._post(there._url("/images/load"), data=chunks).raise_for_status()
        here.close()
        there.close()

    def volume(self, name: str) -> Path:
        """The folder of a volume, also while the machine is off."""
        return self.folder / "docker" / "volumes" / name / "_data"

    # ---- inside

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and threads and programs it starts, are on the machine's network, also on the one
        that comes with a boot meanwhile."""
        with pytest.MonkeyPatch.context() as patch, _OWN_NETWORK.open() as home:
            patch.setenv("DOCKER_HOST", f"unix://{self.socket}")
            self._visitor = threading.get_ident()
            self._enter()
            try:
                yield
            finally:
                self._visitor = None
                _join(home.fileno())

    def _enter(self) -> None:
        if self._visitor == threading.get_ident():
            with Path(f"/proc/{self._pid}/ns/net").open() as there:
                _join(there.fileno())

    @property
    def _pid(self) -> int:
        """Of its process 1, as seen from outside."""
        assert self._init is not None, "it is off"
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        return int(children[0])

    def _within(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self._pid), "--net", "--mount", "--pid", *command]

    def _answers(self) -> bool:
        """Without the SDK, which leaves a socket open for each try that fails."""
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(5)
            try:
                engine.connect(str(self.socket))
                engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in engine.recv(64)
            except OSError:
                return False

    def _engine_lives(self) -> None:
        assert self._engine is not None
        assert self._engine.poll() is None, self.log.read_text()[-4000:]


def _join(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _in_namespace(namespace: int) -> list[str]:
    """Processes in the same namespace of process ids as the open file `namespace`."""
    wanted = os.fstat(namespace).st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").stat().st_ino == wanted:
                    found.append(entry.name)
            except OSError:
                continue
    return found
