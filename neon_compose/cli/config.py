"""`neon-compose config`: the stack file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neon_compose.cli import render
from neon_compose.cli.session import give, of

app = typer.Typer(help="The stack file.", no_args_is_help=True, rich_markup_mode=None)

FileOption = Annotated[
    Path | None,
    typer.Option(
        "-f", "--file", metavar="FILE", help="Default: the nearest neon-compose.yaml.", show_default=False
    ),
]


@app.command()
def schema() -> None:
    """Print the JSON Schema of stack files, for editors."""
    from neon_compose.model.stackfile import json_schema

    give(render.as_json(json_schema()))


@app.command()
def show(ctx: typer.Context, file: FileOption = None) -> None:
    """Check the stack file and print it with all defaults filled in, as JSON."""
    from neon_compose.cli.config_file import load

    give(render.as_json(load(of(ctx).choice(file)).as_document()))


@app.command()
def images() -> None:
    """Print the tags of our images, as the variables of docker-compose.yaml."""
    from neon_compose.engine import images as ours

    for name, tag in ours.tags().items():
        give(f"NEON_{name.upper()}_IMAGE={tag}")
