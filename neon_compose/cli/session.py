"""What one call knows: its stack, the client, the engine; each made when first asked for.

`Outside` is all that a call touches beyond its arguments; tests pass another one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from neon_compose.cli import access, stackname
from neon_compose.cli.access import Access
from neon_compose.model.names import Name

if TYPE_CHECKING:
    import httpx
    import typer

    from neon_compose.cli.client import Client
    from neon_compose.cli.up import Images
    from neon_compose.engine.runtime import Engine


def docker_engine() -> Engine:
    """The real engine; importing its SDK costs 100 ms, so only what needs it gets here."""
    from neon_compose.engine.docker import connect

    return connect()


def our_images() -> Images:
    from neon_compose.cli.up import OurImages

    return OurImages()


def port_is_free(port: int, address: str) -> bool:
    from neon_compose.cli.ports import is_free

    return is_free(port, address)


def run_program(argv: list[str], env: Mapping[str, str]) -> int:
    """Run a program in the foreground with `env` added to ours, and give its exit code."""
    from neon_compose.cli.programs import run

    return run(argv, env)


def find_program(name: str) -> str | None:
    import shutil

    return shutil.which(name)


@dataclass(frozen=True)
class Outside:
    """What a call touches beyond its arguments and standard streams."""

    transport: httpx.BaseTransport | None = None
    engine: Callable[[], Engine] = docker_engine
    images: Callable[[], Images] = our_images
    is_free: Callable[[int, str], bool] = port_is_free
    run: Callable[[list[str], Mapping[str, str]], int] = run_program
    which: Callable[[str], str | None] = find_program
    folder: Path = field(default_factory=Path.cwd)


@dataclass
class Session:
    """One call. `stack_flag` is what `--stack` said."""

    outside: Outside
    stack_flag: str | None = None

    def choice(self, file: Path | None = None) -> stackname.Choice:
        return stackname.choose(self.stack_flag, file, self.outside.folder)

    @cached_property
    def stack(self) -> Name:
        return self.choice().stack

    @cached_property
    def client(self) -> Client:
        return self.client_of(self.stack)

    def client_of(self, stack: Name) -> Client:
        from neon_compose.cli.client import Client

        return Client(lambda fresh: self._access(stack, fresh), self.outside.transport)

    @cached_property
    def engine(self) -> Engine:
        return self.outside.engine()

    def _access(self, stack: Name, fresh: bool) -> Access:
        known = None if fresh else access.read(stack)
        if known is None:
            from neon_compose.cli.lookup import fetch_access

            known = fetch_access(self.engine, stack)
            access.write(stack, known)
        return known


def of(ctx: typer.Context) -> Session:
    """The session of a command's context."""
    return cast(Session, ctx.obj)


def say(text: str) -> None:
    """A line for people, on stderr: progress, notes, what was done."""
    print(text, file=sys.stderr, flush=True)


def give(text: str) -> None:
    """A result, on stdout."""
    print(text, flush=True)
