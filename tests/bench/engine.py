"""Short containers and volumes of the bench on the Docker engine; all labelled, all removed at the end."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container

LABEL = "dev.neon-compose.bench"
KEPT = "dev.neon-compose.bench-data"
_IMAGE = "neon-compose-postgres"
_TIMEOUT_S = 3600
Binds = Mapping[str, str]  # volume name or folder on the engine's host -> path inside


class Failed(Exception):
    """A container of the bench said no; the text is its output."""


def postgres_image(api: docker.APIClient) -> str:
    """The newest built image with Postgres's programs."""
    found = [image for image in api.images(_IMAGE) if image.get("RepoTags")]
    if not found:
        raise ImageNotFound(f"no image {_IMAGE}: run `neon-compose up` once")
    newest = max(found, key=lambda image: image["Created"])
    return str(newest["RepoTags"][0])


def free_port(first: int = 25432) -> int:
    """A port on 127.0.0.1 nobody listens on, away from those of stacks."""
    for port in range(first, first + 500):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Failed("no free port")


class Engine:
    """`run` names this run; `image` and `user` are those of every container it makes."""

    def __init__(self, run: str, image: str = "", user: str = "neon") -> None:
        self.docker = docker.from_env(timeout=_TIMEOUT_S)
        self.api: docker.APIClient = self.docker.api
        self.run_name = run
        self.image = image or postgres_image(self.api)
        self.user = user
        self.labels = {LABEL: run}

    # ---- volumes

    def volume(self, name: str, *, keep: bool = False) -> str:
        """A new volume, removed at the end unless `keep`."""
        labels = {KEPT: name} if keep else self.labels
        self.api.create_volume(name, labels=labels)
        return name

    def has_volume(self, name: str) -> bool:
        with suppress(NotFound):
            return bool(self.api.inspect_volume(name))
        return False

    def drop_volume(self, name: str) -> None:
        with suppress(NotFound):
            self.api.remove_volume(name, force=True)

    # ---- containers

    def shell(self, script: str, binds: Binds, *, user: str = "", **more: object) -> str:
        """Run a shell script in a container of its own and give its stdout."""
        container = self.docker.containers.create(
            self.image,
            ["bash", "-euo", "pipefail", "-c", script],
            user=user or self.user,
            labels=self.labels,
            volumes=mounts(binds),
            environment={"PATH": "/usr/lib/postgresql/17/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            entrypoint=[],
            init=True,
            **more,
        )
        try:
            container.start()
            code = container.wait()["StatusCode"]
            if code:
                raise Failed(f"exit {code}: {container.logs(tail=30).decode(errors='replace')}")
            return str(container.logs(stdout=True, stderr=False).decode())
        finally:
            container.remove(force=True)

    @contextmanager
    def sleeper(self, binds: Binds, *, network: str = "host") -> Iterator[Container]:
        """A container to exec in; on the host's network so that both sides are reached alike."""
        container = self.docker.containers.run(
            self.image,
            ["sleep", "infinity"],
            user=self.user,
            labels=self.labels,
            volumes=mounts(binds),
            network_mode=network,
            entrypoint=[],
            init=True,
            detach=True,
        )
        try:
            yield container
        finally:
            container.remove(force=True)

    # ---- looking at containers of others

    def source_of(self, container: str, destination: str) -> str:
        """The folder on the engine's host that is mounted at `destination`."""
        for mount in self.api.inspect_container(container)["Mounts"]:
            if mount["Destination"] == destination:
                return str(mount["Source"])
        raise Failed(f"{container} has nothing mounted at {destination}")

    def pss_bytes(self, containers: list[str]) -> float:
        """The proportional set size of all their processes, shared pages counted once over all sharers."""
        pids = [pid for name in containers for pid in self._pids(name)]
        each = f"for p in {' '.join(pids)}; do grep -s ^Pss: /proc/$p/smaps_rollup || true; done"
        script = each + " | awk '{s+=$2} END {print s}'"
        kib = self.shell(
            script,
            {},
            user="0",
            pid_mode="host",
            cap_add=["SYS_PTRACE"],
            security_opt=["apparmor=unconfined"],
        )
        return float(kib) * 1024

    def _pids(self, container: str) -> list[str]:
        top = self.api.top(container)
        column = top["Titles"].index("PID")
        return [row[column] for row in top["Processes"]]

    # ---- the end

    def remove_everything(self, stack: str) -> None:
        """All of this run, and what a failed `down` left of its stacks; kept data stays."""
        for label in (f"{LABEL}={self.run_name}", f"dev.neon-compose.stack={stack}"):
            wanted = {"label": label}
            for container in self.docker.containers.list(all=True, filters=wanted):
                with suppress(APIError):
                    container.remove(force=True, v=True)
            for network in self.docker.networks.list(filters=wanted):
                with suppress(APIError):
                    network.remove()
            for volume in self.docker.volumes.list(filters=wanted):
                with suppress(APIError):
                    volume.remove(force=True)


def mounts(binds: Binds) -> dict[str, dict[str, str]]:
    return {source: {"bind": inside, "mode": "rw"} for source, inside in binds.items()}


def stream_to_file(
    container: Container, command: list[str], environment: Mapping[str, str], dst: Path
) -> None:
    """Run a command inside and write its stdout to `dst`; raises when it fails."""
    api = container.client.api
    made = api.exec_create(container.id, command, environment=dict(environment))
    errors = b""
    with dst.open("wb") as out:
        for chunk, error in api.exec_start(made["Id"], stream=True, demux=True):
            out.write(chunk or b"")
            errors += error or b""
    if api.exec_inspect(made["Id"])["ExitCode"]:
        raise Failed(errors.decode(errors="replace"))
