"""A Postgres over a branch's data folder, under the shim and perhaps recorded. Runs inside a container."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from neon_compose import wait
from neon_compose.compute.paths import ComputePaths
from neon_compose.postgres import conf
from neon_compose.postgres.server import ADMIN
from neon_compose.postgres.versions import Version

_START_S = 120.0


@dataclass(frozen=True)
class Over:
    """What servers here run over: the branch's layers and map, and the libraries to preload. Without a
    recorder there is no log."""

    version: Version
    layers: Path
    branch_map: Path
    shim: Path
    recorder: Path | None = None

    @contextmanager
    def running(self, root: Path, log: Path | None = None) -> Iterator[None]:
        """Serve over the socket in root/run while the context lasts; then every process of it is killed."""
        paths = ComputePaths(root)
        paths.run.mkdir(mode=0o700, exist_ok=True)
        said = root.with_name(root.name + ".log")
        with said.open("wb") as out:
            process = subprocess.Popen(
                self._command(paths),
                cwd=paths.data,
                env={**os.environ, **self._environment(paths, log)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            self._await_ready(process, root, said)
            yield
        except BaseException:
            print(said.read_text(errors="replace")[-6000:])
            raise
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            said.unlink()

    def _command(self, paths: ComputePaths) -> list[str]:
        pinned = {**conf.PINNED, "listen_addresses": "", "unix_socket_directories": paths.run}
        options = [word for name, value in pinned.items() for word in ("-c", f"{name}={value}")]
        return [str(self.version.program("postgres")), "-D", str(paths.data), *options]

    def _environment(self, paths: ComputePaths, log: Path | None) -> dict[str, str]:
        return {
            "LD_PRELOAD": f"{self.shim} {self.recorder}" if self.recorder else str(self.shim),
            "NEON_SHIM_PGDATA": str(paths.data),
            "NEON_SHIM_MAP": str(self.branch_map),
            "NEON_SHIM_LAYERS": str(self.layers),
            "NEON_SHIM_OVERLAY": str(paths.overlay),
            "NEON_SHIM_MARKER": str(paths.marker),
            **({"POWER_LOG": str(log)} if log else {}),
        }

    def _await_ready(self, process: subprocess.Popen[bytes], root: Path, said: Path) -> None:
        def ready() -> bool:
            try:
                connect(root).close()
            except psycopg.OperationalError:
                return False
            return True

        def alive() -> None:
            assert process.poll() is None, f"the server ended with {process.returncode}"

        wait.until("the server", ready, wait.Deadline.after(_START_S), alive=alive, last_words=said.read_text)


def connect(root: Path) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(root / "run"), user=ADMIN, dbname="postgres", autocommit=True)
