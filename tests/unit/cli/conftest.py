"""One call of the program against a fake server, in a home of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from neon_compose.cli import access
from neon_compose.cli.__main__ import run
from neon_compose.cli.access import Access
from neon_compose.cli.session import Outside
from neon_compose.engine.runtime import Engine
from neon_compose.errors import Unavailable
from neon_compose.model.names import Name
from tests.unit.cli.server import TOKEN, URL, FakeServer


@dataclass
class Programs:
    """What was run on the host; `there` are the programs it has."""

    there: set[str] = field(default_factory=lambda: {"psql", "docker"})
    runs: list[tuple[list[str], dict[str, str]]] = field(default_factory=list)
    code: int = 0

    def run(self, argv: list[str], env: Mapping[str, str]) -> int:
        self.runs.append((argv, dict(env)))
        return self.code

    def which(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.there else None


def no_engine() -> Engine:
    raise Unavailable("no Docker engine answers", hint="neon-compose up says what to do.")


@dataclass
class Ran:
    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def server() -> FakeServer:
    found = FakeServer()
    found.storage("main")
    found.pg("main")
    found.branch("main", "main")
    return found


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def outside(
    server: FakeServer, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Outside:
    """A home, a folder and a network of the test's own; the state file is written as `up` leaves it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NEON_COMPOSE_STACK", raising=False)
    monkeypatch.delenv("NEON_DEBUG", raising=False)
    access.write(Name("neon"), Access(URL, TOKEN))
    folder = tmp_path / "work"
    folder.mkdir()
    return Outside(
        transport=server.transport, engine=no_engine, run=programs.run, which=programs.which, folder=folder
    )


@pytest.fixture
def cli(outside: Outside, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one call; keyword arguments replace parts of the outside."""

    def call(*argv: str, **parts: object) -> Ran:
        code = run(list(argv), replace(outside, **parts))  # type: ignore[arg-type]
        seen = capsys.readouterr()
        return Ran(code, seen.out, seen.err)

    return call
