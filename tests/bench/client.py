"""pgbench as the client, in a container on the host's network; both sides are reached from there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from docker.models.containers import Container

from tests.bench.engine import Binds, Engine, Failed

CLIENTS = 8
THREADS = 2
_PROGRAM = "/usr/lib/postgresql/17/bin/pgbench"
_TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)
SELECT_ONLY = ("-S",)
TPC_B = ("-b", "tpcb-like")


class Client:
    def __init__(self, container: Container) -> None:
        self._container = container

    def pgbench(self, script: tuple[str, ...], conninfo: str, seconds: float) -> float:
        """Transactions per second of one run, the connections' making left out."""
        return self._run(script, "-T", max(1, round(seconds)), conninfo)

    def transactions(self, script: tuple[str, ...], conninfo: str, each: int) -> None:
        """As many from each of the clients, however long that takes."""
        self._run(script, "-t", each, conninfo)

    def _run(self, script: tuple[str, ...], option: str, value: int, conninfo: str) -> float:
        command = [
            *(_PROGRAM, "-n", *script, "-c", str(CLIENTS), "-j", str(THREADS)),
            *(option, str(value), conninfo),
        ]
        code, output = self._container.exec_run(command)
        found = _TPS.search(output.decode())
        if code or not found:
            raise Failed(f"pgbench: exit {code}\n{output.decode()}")
        return float(found[1])


@contextmanager
def client(engine: Engine, binds: Binds) -> Iterator[Client]:
    with engine.sleeper(binds) as container:
        yield Client(container)
