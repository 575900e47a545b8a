"""The commands that go through the engine: `up`, `down`, `logs`, `doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from neon_compose.cli.args import DryRun, Output, OutputOption
from neon_compose.cli.config import FileOption
from neon_compose.cli.session import of
from neon_compose.model.names import parse_name


def up(
    ctx: typer.Context,
    file: FileOption = None,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Return once it is up.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what the stack file no longer has.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Bring the stack up and print its URL.

    Repeat it to apply a changed stack file.
    """
    from neon_compose.cli.up import Request, up

    session = of(ctx)
    up(session, Request(file, prune, detach, dry_run), session.outside.images())


def down(
    ctx: typer.Context,
    volumes: Annotated[
        bool, typer.Option("-v", "--volumes", help="Delete its data and secrets too.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Stop the stack; its data stays unless -v."""
    from neon_compose.cli.down import down

    down(of(ctx), volumes=volumes, sure=yes, dry_run=dry_run)


def logs(
    ctx: typer.Context,
    containers: Annotated[
        list[str] | None, typer.Argument(metavar="[CONTAINER]...", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="MOMENT", help="10m, 2h, or 2026-11-28T10:00:00Z.", show_default=False
        ),
    ] = None,
    tail: Annotated[
        int | None,
        typer.Option("--tail", min=0, help="Lines of each; 100, or all with --since.", show_default=False),
    ] = None,
) -> None:
    """Print what the stack's containers said: controller, storage_NAME, safekeeper_N, pg_NAME, or all of a
    component.

    With -f until Ctrl-C, through restarts, and with what comes meanwhile.
    """
    from neon_compose.cli.attached import logs

    logs(of(ctx), containers or (), tail, since, following=follow)


def doctor(
    ctx: typer.Context,
    leftovers: Annotated[
        bool, typer.Option("--leftovers", help="List what is there and shouldn't be.")
    ] = False,
    discard_cache: Annotated[
        str | None,
        typer.Option(
            "--discard-cache",
            metavar="PG",
            help="Remove the data directory of a stopped pg; its next start makes it from safekeepers.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say what is wrong with the machine, the engine or the stack."""
    from neon_compose.cli.doctor import report
    from neon_compose.cli.leftovers import list_leftovers
    from neon_compose.cli.pg import discard

    if discard_cache is not None:
        discard(of(ctx), parse_name(discard_cache, "pg"), output)
    elif leftovers:
        list_leftovers(of(ctx), output)
    elif not report(of(ctx), output):
        raise typer.Exit(5)
