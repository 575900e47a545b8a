"""Ways into a pg and the API: `url`, `psql`, `env`, `token`."""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from neon_compose.cli.args import NameArgument, NameOption, one_name
from neon_compose.cli.session import Session, give, of
from neon_compose.errors import Invalid, NotFound, Unavailable

PgArgument = Annotated[str | None, typer.Argument(metavar="PG", show_default=False)]
PgOption = Annotated[
    str | None, typer.Option("-n", "--name", metavar="PG", help="The same as PG.", show_default=False)
]


class Way(StrEnum):
    """How to reach a pg; the names of PgUrl's fields."""

    PORT = "url"
    DIRECT = "direct"
    SOCKET = "socket"


def url(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="The container's own address: twice as fast, Linux only.")
    ] = False,
    socket: Annotated[bool, typer.Option("--socket", help="A Unix socket: the fastest, Linux only.")] = False,
) -> None:
    """Print the URL of a pg, with its password."""
    if direct and socket:
        raise Invalid("--direct and --socket exclude each other", code="two_ways")
    way = Way.DIRECT if direct else Way.SOCKET if socket else Way.PORT
    give(_url(of(ctx), one_name(name, option_name, "pg"), way))


def psql(
    ctx: typer.Context,
    pg: Annotated[str, typer.Argument(metavar="PG")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[-- ARGS]", show_default=False)] = None,
) -> None:
    """Run psql on a pg; what follows -- goes to psql.

    It is this machine's psql, else the one in the pg's container.
    """
    session = of(ctx)
    name = one_name(pg, None, "pg")
    env = libpq_env(_url(session, name, Way.PORT))
    program = session.outside.which("psql")
    if program is not None:
        code = session.outside.run([program, *(args or [])], env)
    else:
        code = session.outside.run(_in_compute(session, name, env, args or []), env)
    raise typer.Exit(code)


def env(ctx: typer.Context, pg: PgArgument = None, option_pg: PgOption = None) -> None:
    """Print variables of a pg or the API, for eval."""
    session = of(ctx)
    if pg is None and option_pg is None:
        access = session.client.check()
        values = {
            "NEON_COMPOSE_STACK": session.stack,
            "NEON_API_URL": access.url,
            "NEON_API_TOKEN": access.token,
        }
    else:
        target = _url(session, one_name(pg, option_pg, "pg"), Way.PORT)
        values = {**libpq_env(target), "DATABASE_URL": target}
    for key, value in values.items():
        give(f"export {key}={shlex.quote(value)}")


def token(ctx: typer.Context) -> None:
    """Print the API's token.

    For curl: -H "Authorization: Bearer $(neon-compose token)".
    """
    give(of(ctx).client.check().token)


def libpq_env(target: str) -> dict[str, str]:
    """A postgres:// URL as libpq's variables, so that the password stays out of every argv."""
    parts = urlsplit(target)
    values = {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    return {key: value for key, value in values.items() if value}


def _url(session: Session, pg: str, way: Way) -> str:
    found: dict[str, Any] = session.client.get(f"/pgs/{pg}/url")
    target = found.get(way.value)
    if target is None:
        raise Unavailable(
            f'pg "{pg}" has no {way.value} address',
            detail="Direct addresses and sockets need a running pg and an engine on this Linux machine.",
            hint=f"neon-compose url {pg} prints the URL that always works.",
            code="no_address",
        )
    return str(target)


def _in_compute(session: Session, pg: str, env: dict[str, str], args: list[str]) -> list[str]:
    """The command that runs the compute's own psql; variables go by name, their values by our environment."""
    import sys

    from neon_compose.engine import labels
    from neon_compose.engine.runtime import Kind
    from neon_compose.model.states import Component

    docker = session.outside.which("docker")
    if docker is None:
        raise Unavailable(
            "there is no psql and no docker client on this machine",
            hint=f"Install postgresql-client, or use any client with: neon-compose url {pg}",
            code="no_psql",
        )
    computes = session.engine.observe(session.stack, (Kind.CONTAINER,)).of(Component.COMPUTE)
    container = next((one for one in computes if one.labels.get(labels.PG) == pg and one.running), None)
    if container is None:
        raise NotFound(f'pg "{pg}" has no running container', hint=f"Start it: neon-compose pg start {pg}")
    env["PGHOST"] = "127.0.0.1"  # inside, the same port is on the loopback of its pod
    terminal = ["-t"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    names = [word for name in env for word in ("-e", name)]
    return [docker, "exec", "-i", *terminal, *names, container.name, "psql", *args]
