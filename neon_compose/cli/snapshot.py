"""`neon-compose snapshot`: names for moments of branches."""

from __future__ import annotations

from typing import Annotated

import typer

from neon_compose.cli import diffs, render
from neon_compose.cli.args import DryRun, NameArgument, NameOption, Output, OutputOption, one_name
from neon_compose.cli.diffs import ExitCodeOption
from neon_compose.cli.finding import (
    PlaceArgument,
    SourceArgument,
    StorageOption,
    find_snapshot,
    storage_of,
)
from neon_compose.cli.plan import changed
from neon_compose.cli.session import give, of, say
from neon_compose.errors import Invalid
from neon_compose.model.names import parse_name
from neon_compose.model.source import parse_source

app = typer.Typer(
    help="Snapshots: names for moments of branches.", no_args_is_help=True, rich_markup_mode=None
)

COLUMNS: render.Columns = {
    "STORAGE": "storage_name",
    "NAME": "name",
    "BRANCH": "branch",
    "LSN": "lsn",
    "CREATED": "created_at",
}


@app.command()
def create(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="SRC", help="[STORAGE/]NAME[@MOMENT]")],
    name: NameArgument = None,
    option_name: NameOption = None,
    storage: StorageOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Name a moment of a branch, by default its latest, and keep all that is needed to open it."""
    snapshot = one_name(name, option_name, "snapshot")
    parsed = parse_source(source)
    session = of(ctx)
    home = parse_name(storage, "storage") if storage else storage_of(session, parsed)
    answer = session.client.call("PUT", f"/snapshots/{home}/{snapshot}", {"from": source}, dry_run=dry_run)
    made = changed(answer, output)
    if made is not None:
        give(render.as_json(made) if output is Output.JSON else render.as_table([made], COLUMNS))


@app.command("list")
def list_(
    ctx: typer.Context,
    storage: Annotated[str | None, typer.Argument(metavar="STORAGE", show_default=False)] = None,
    option_storage: StorageOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the snapshots of a storage, or of all."""
    snapshots = of(ctx).client.get("/snapshots")
    if storage is not None or option_storage is not None:
        home = one_name(storage, option_storage, "storage")
        of(ctx).client.get(f"/storages/{home}")  # there must be one
        snapshots = [one for one in snapshots if one["storage_name"] == home]
    give(render.as_json(snapshots) if output is Output.JSON else render.as_table(snapshots, COLUMNS))


@app.command()
def show(
    ctx: typer.Context,
    name: PlaceArgument = None,
    option_name: NameOption = None,
    storage: StorageOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one snapshot."""
    session = of(ctx)
    home, snapshot = find_snapshot(session, name, option_name, storage)
    found = session.client.get(f"/snapshots/{home}/{snapshot}")
    give(render.as_json(found) if output is Output.JSON else render.as_facts(found))


@app.command()
def diff(
    ctx: typer.Context,
    before: Annotated[str, typer.Argument(metavar="[STORAGE/]NAME", show_default=False)],
    after: SourceArgument,
    storage: StorageOption = None,
    exit_code: ExitCodeOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare a snapshot with another one, or with a moment of a branch of its storage: the schema, and pages
    by table."""
    if "@" in before:
        raise Invalid(
            f"{before[:60]!a} is a moment of a branch",
            hint="Moments of branches are compared by neon-compose branch diff.",
            code="bad_name",
        )
    body = {"action": "diff", "with": str(parse_source(after))}
    session = of(ctx)
    home, snapshot = find_snapshot(session, before, None, storage)
    where = f"/snapshots/{home}/{snapshot}/actions"
    diffs.show(session, where, body, output, exit_code=exit_code)


@app.command()
def delete(
    ctx: typer.Context,
    name: PlaceArgument = None,
    option_name: NameOption = None,
    storage: StorageOption = None,
    dry_run: DryRun = False,
) -> None:
    """Delete a snapshot; branches that were made from it stay as they are."""
    session = of(ctx)
    home, snapshot = find_snapshot(session, name, option_name, storage)
    answer = session.client.call("DELETE", f"/snapshots/{home}/{snapshot}", dry_run=dry_run)
    if not dry_run or changed(answer, Output.TABLE) is not None:
        say(f'snapshot "{home}/{snapshot}" is deleted')
