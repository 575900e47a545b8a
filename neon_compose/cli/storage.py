"""`neon-compose storage`: where data lives."""

from __future__ import annotations

from os.path import normpath
from pathlib import Path
from typing import Annotated, Any

import typer

from neon_compose.cli import imports, render
from neon_compose.cli.args import DryRun, NameArgument, NameOption, Output, OutputOption, one_name
from neon_compose.cli.plan import changed
from neon_compose.cli.session import Session, give, of, say
from neon_compose.errors import Invalid
from neon_compose.model.history import parse_age, parse_size
from neon_compose.model.states import StorageType

app = typer.Typer(help="Storages: where data lives.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS: render.Columns = {
    "NAME": "name",
    "TYPE": "type",
    "STATE": "state",
    "PATH": "path",
    "SIZE": lambda storage: render.size(storage.get("size_bytes")),
    "SNAPSHOTS": "snapshots",
    "BRANCHES": "branches",
}

TypeOption = Annotated[StorageType, typer.Option("--type", help="native: a volume or a folder; s3: a URL.")]
PathOption = Annotated[
    str | None,
    typer.Option(
        "--path", metavar="PATH", help="A folder of this machine, or an S3 URL.", show_default=False
    ),
]
ImportOption = Annotated[
    str | None,
    typer.Option(
        "--import",
        metavar="SOURCE",
        help="Fill it: from a dump (pg_dump: any format), a running server (postgres://user@host/db), or "
        "the data directory of a stopped one.",
        show_default=False,
    ),
]

HistoryOption = Annotated[
    str | None,
    typer.Option(
        "--history",
        metavar="TIME",
        help="How long ago moments stay open: 2h, 7d, or 0. A new one: 7d.",
        show_default=False,
    ),
]
HistorySizeOption = Annotated[
    str | None,
    typer.Option(
        "--history-size",
        metavar="SIZE",
        help="And how much WAL back: 512MiB, 10GiB, or 0. A new one: 10GiB.",
        show_default=False,
    ),
]


@app.command()
def attach(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    kind: TypeOption = StorageType.NATIVE,
    path: PathOption = None,
    import_: ImportOption = None,
    history: HistoryOption = None,
    history_size: HistorySizeOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a storage, or attach the one that is at --path. Repeated, it changes what history is kept."""
    storage = one_name(name, option_name, "storage")
    session = of(ctx)
    where = absolute(session, path) if kind is StorageType.NATIVE else path
    body = {"name": storage, "type": kind.value} | ({"path": where} if where is not None else {})
    if history is not None:
        parse_age(history)
    if history_size is not None:
        parse_size(history_size)
    kept = {"history": history, "history_size": history_size}
    body |= {key: value for key, value in kept.items() if value is not None}
    if import_ is None or dry_run:
        if import_ is not None:
            body |= imports.check(session, import_)
        answer = session.client.call("PUT", "/storages", body, dry_run=dry_run)
    else:
        answer = imports.bring(session, imports.new_storage(body), import_)
    made = changed(answer, output)
    if made is not None:
        if made.get("note"):
            say(f"note: {made['note']}")
        give(render.as_json(made) if output is Output.JSON else render.as_table([made], COLUMNS))


@app.command("import")
def import_(
    ctx: typer.Context,
    name: NameArgument = None,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="As of attach --import; else the same as before.")
    ] = None,
    option_name: NameOption = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Take a newer copy into main; what main was stays.")
    ] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Bring a newer copy of its source into a storage (--refresh)."""
    if option_name is not None and source is None:  # `import --refresh -n NAME SOURCE`
        name, source = option_name, name
        option_name = None
    storage = one_name(name, option_name, "storage")
    if not refresh:
        raise Invalid(
            f'storage "{storage}" is filled when it is attached',
            hint=f"A new one: neon-compose storage attach -n {storage} --type native --import SOURCE\n"
            f"A newer copy into one that is there: neon-compose storage import --refresh -n {storage}",
            code="no_refresh",
        )
    session = of(ctx)
    if dry_run:
        body = {"action": "refresh"} | (imports.check(session, source) if source is not None else {})
        answer = session.client.call("POST", f"/storages/{storage}/actions", body, dry_run=True)
    else:
        into = imports.refreshed(storage)
        answer = (
            imports.bring(session, into, source) if source is not None else imports.bring_again(session, into)
        )
    made = changed(answer, output)
    if made is not None:
        give(render.as_json(made) if output is Output.JSON else render.as_table([made], COLUMNS))


@app.command()
def detach(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its data too.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Forget a storage; its data stays unless --purge."""
    storage = one_name(name, option_name, "storage")
    answer = of(ctx).client.call("DELETE", f"/storages/{storage}", purge=purge, dry_run=dry_run)
    if not dry_run or changed(answer, Output.TABLE) is not None:
        say(f'storage "{storage}" is detached' + (" and its data deleted" if purge else ""))


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List all storages."""
    storages = of(ctx).client.get("/storages")
    give(render.as_json(storages) if output is Output.JSON else render.as_table(storages, COLUMNS))


@app.command()
def show(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one storage, with its snapshots and branches."""
    storage = of(ctx).client.get(f"/storages/{one_name(name, option_name, 'storage')}")
    give(render.as_json(storage) if output is Output.JSON else render.as_facts(_readable(storage)))


def absolute(session: Session, path: str | None) -> str | None:
    """A host folder as the API wants it; an empty one is left for the API to refuse."""
    return normpath(session.outside.folder / Path(path).expanduser()) if path else path


def _readable(storage: dict[str, Any]) -> dict[str, Any]:
    """The document with its size in words."""
    return {("size" if key == "size_bytes" else key): value for key, value in storage.items()} | (
        {"size": render.size(storage["size_bytes"])} if storage.get("size_bytes") is not None else {}
    )
