"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from neon_compose import __version__
from neon_compose.cli import branch, config, connect, events, lifecycle, pg, snapshot, status, storage
from neon_compose.cli.session import Session, give, of

app = typer.Typer(
    help="Neon's branches on plain Docker: Postgres copies of any size in a fraction of a second.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _give_version(asked: bool) -> None:
    if asked:
        give(f"neon-compose {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack",
            metavar="NAME",
            help="Default: NEON_COMPOSE_STACK, else the stack file's.",
            show_default=False,
        ),
    ] = None,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from (or NEON_DEBUG=1).")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_give_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    ctx.obj = Session(of(ctx).outside, stack)


app.command()(lifecycle.up)
app.command()(lifecycle.down)
app.command()(status.status)
app.command()(lifecycle.logs)
app.command()(events.events)
app.command()(lifecycle.doctor)
app.command()(connect.url)
app.command()(connect.psql)
app.command()(connect.env)
app.command()(connect.token)
app.add_typer(storage.app, name="storage")
app.add_typer(pg.app, name="pg")
app.add_typer(branch.app, name="branch")
app.add_typer(snapshot.app, name="snapshot")
app.add_typer(config.app, name="config")
