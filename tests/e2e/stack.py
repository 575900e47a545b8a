"""A stack as its user drives it: the installed `neon-compose` program, curl-like HTTP, psycopg."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import docker
import httpx
import psycopg

from neon_compose.errors import TimedOut
from neon_compose.wait import Deadline, until

LABEL = "dev.neon-compose.stack"
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
PROGRAM = Path(sys.executable).with_name("neon-compose")
_PYTHON = "/opt/neon/bin/python"
_REDO = """
import json, sys
from neon_compose import settings
from neon_compose.wire.pageserver_client import PageserverClient
with PageserverClient("http://127.0.0.1:6400", settings.secret_file("NEON_TOKEN_FILE")) as client:
    print(json.dumps(list(client.redo(sys.argv[1]))[-1].result))
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def opens(url: str) -> bool:
    """Whether a client gets an answer there now."""
    try:
        with psycopg.connect(url, connect_timeout=3) as session:
            return session.execute("select 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


class Stack:
    SMALL: ClassVar[str] = "minio: false\n"

    def __init__(self, name: str, folder: Path, stack_file: str) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "neon-compose.yaml").write_text(f"name: {name}\n{stack_file}")
        self.docker = docker.from_env()

    def run(
        self,
        *args: str,
        stdin: str | None = None,
        timeout_s: float = 600,
        env: Mapping[str, str] = NO_VARIABLES,
    ) -> Ran:
        """Run `neon-compose ARGS` in the stack's folder, with `env` added to ours."""
        env = os.environ | {"XDG_STATE_HOME": str(self.folder / "state"), **env}
        done = subprocess.run(
            [PROGRAM, *args],
            cwd=self.folder,
            env=env,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def cli(self, *args: str, stdin: str | None = None) -> str:
        """Run a command that must succeed; gives its stdout."""
        ran = self.run(*args, stdin=stdin)
        assert ran.code == 0, (
            f"neon-compose {' '.join(args)}: exit {ran.code}\n{ran.err}{ran.out}{self.logs()}"
        )
        return ran.out

    def json(self, *args: str) -> Any:
        return json.loads(self.cli(*args, "-o", "json"))

    def up(self) -> str:
        return self.cli("up", "-d").strip()

    @property
    def client_file(self) -> dict[str, str]:
        state: dict[str, str] = json.loads((self.folder / f"state/neon-compose/{self.name}.json").read_text())
        return state

    def http(self) -> httpx.Client:
        """A client of the REST API, with the token."""
        known = self.client_file
        return httpx.Client(
            base_url=known["url"], headers={"Authorization": f"Bearer {known['token']}"}, timeout=120
        )

    def url(self, pg: str) -> str:
        return self.cli("url", pg).strip()

    def sql(self, pg: str, query: str) -> list[tuple[Any, ...]]:
        """Run one statement through the published port and give its rows."""
        with psycopg.connect(self.url(pg), autocommit=True) as session:
            cursor = session.execute(query)
            return cursor.fetchall() if cursor.description else []

    def wait_until(self, probe: Callable[..., bool], *args: Any) -> None:
        """Return when `probe(*args)` is true; what the containers say if it doesn't come true."""
        until(f"{probe.__name__}{args}", lambda: probe(*args), Deadline.after(60), last_words=self.logs)

    def containers(self, component: str = "") -> list[Any]:
        labels = [f"{LABEL}={self.name}"] + ([f"dev.neon-compose.component={component}"] if component else [])
        return list(self.docker.containers.list(all=True, filters={"label": labels}, ignore_removed=True))

    def redo(self, storage: str, branch: str) -> dict[str, Any]:
        """Have what there is of the branch's WAL replayed into a layer; what that came to."""
        command = [_PYTHON, "-c", _REDO, branch]
        status, said = self.container(f"storage_{storage}").exec_run(command)
        assert status == 0, said.decode()
        found: dict[str, Any] = json.loads(said)
        return found

    def container(self, name: str) -> Any:
        return self.docker.containers.get(f"{self.name}_{name}")

    def logs(self) -> str:
        """The last lines of every container, for the message of a failed test."""
        return "".join(
            f"--- {c.name} ({c.status})\n{c.logs(tail=25).decode(errors='replace')}"
            for c in self.containers()
        )

    def leftovers(self) -> list[str]:
        """Everything on the engine that carries this stack's label."""
        wanted = {"label": f"{LABEL}={self.name}"}
        found = self.containers() + self.docker.networks.list(filters=wanted)
        return [x.name for x in found] + [v.name for v in self.docker.volumes.list(filters=wanted)]

    def misplaced(self) -> list[dict[str, Any]]:
        """What the controller says is there and shouldn't be, once it has nothing to do any more."""
        with self.http() as http:

            def none_left() -> bool:
                answer = http.get("/leftovers")
                assert answer.status_code == 200, answer.text
                last[:] = answer.json()
                return not last

            last: list[dict[str, Any]] = []
            with suppress(TimedOut):  # pods are tidied in the background, and a test may end meanwhile
                until("nothing to be left over", none_left, Deadline.after(30))
            return last

    def remains(self) -> list[str]:
        """Everything on the engine that has this stack's label, or a name like its things have."""
        engine = self.docker
        found = [
            *engine.containers.list(all=True, ignore_removed=True),
            *engine.networks.list(),
            *engine.volumes.list(),
        ]
        return sorted(
            {one.name for one in found if one.name.startswith(f"{self.name}_")} | set(self.leftovers())
        )

    def down_and_check(self) -> None:
        """At a stack's end: nothing is there that shouldn't be, and `down -v` leaves nothing of it."""
        misplaced = self.misplaced() if self.is_up() else []
        if self.leftovers():
            ran = self.run("down", "-v", "--yes")
            assert ran.code == 0, ran.err + self.logs()
        remains = self.remains()
        assert remains == [], remains
        self.docker.close()
        assert misplaced == [], misplaced

    def is_up(self) -> bool:
        """Whether its controller runs and has the address that the command line knows."""
        known = (self.folder / f"state/neon-compose/{self.name}.json").exists()
        return known and any(one.status == "running" for one in self.containers("controller"))
