"""`neon-compose events`: what goes on in the stack, as the controller tells it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from neon_compose.cli.args import Output, OutputOption
from neon_compose.cli.session import give, of, say


def events(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as they come.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="MOMENT", help="10m, 2h, or 2026-11-28T10:00:00Z.", show_default=False
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print what happened to the stack's pgs, storages, branches and containers.

    As far as the controller still knows it; with -f and no --since, only what comes from now on.
    """
    for line in of(ctx).client.lines("/events", follow=follow, since=since):
        give(line if output is Output.JSON else readable(json.loads(line)))
    if follow:
        say("the controller ends, and the stack with it")


def readable(event: dict[str, Any]) -> str:
    """One line: local time, what, whom, and what else is known of it."""
    at = datetime.fromisoformat(event["at"]).astimezone()
    more = [f"exit code {event['exit_code']}"] if event.get("exit_code") is not None else []
    more += [event["note"]] if event.get("note") else []
    line = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}  {event['kind']:<23}  {event['name']}"
    return "".join(letter if letter.isprintable() else "?" for letter in "  ".join([line, *more]))
