"""`neon-compose pg`: computes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from neon_compose.cli import render
from neon_compose.cli.args import (
    DiscardWrites,
    DryRun,
    NameArgument,
    NameOption,
    Output,
    OutputOption,
    one_name,
)
from neon_compose.cli.client import Client
from neon_compose.cli.plan import changed
from neon_compose.cli.session import Session, give, of, say
from neon_compose.errors import Invalid
from neon_compose.model.names import parse_name

app = typer.Typer(help="Computes: Postgres over a branch.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS: render.Columns = {
    "NAME": "name",
    "STORAGE": "storage_name",
    "BRANCH": "branch",
    "STATE": "state",
    "PORT": "port",
    "DURABILITY": "durability",
    "OWN": lambda pg: render.size(pg.get("own_bytes")),
    "URL": "url",
}

StorageOption = Annotated[
    str, typer.Option("-s", "--s", "--storage", metavar="STORAGE", help="The storage its data is in.")
]
BranchOption = Annotated[
    str | None,
    typer.Option(
        "--branch", metavar="BRANCH", help="Default: main, or NAME with --from.", show_default=False
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="SRC", help="Start a new branch at [STORAGE/]NAME[@MOMENT].", show_default=False
    ),
]
PortOption = Annotated[
    int | None, typer.Option("--port", help="Default: the next free one.", show_default=False)
]
SettingOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A PostgreSQL setting; repeatable.")
]
DurabilityOption = Annotated[
    str | None,
    typer.Option(
        "--durability",
        metavar="quorum|local|off",
        help="Default: quorum, local without safekeepers.",
        show_default=False,
    ),
]


@app.command()
def create(
    ctx: typer.Context,
    storage: StorageOption,
    name: NameArgument = None,
    option_name: NameOption = None,
    branch: BranchOption = None,
    source: FromOption = None,
    port: PortOption = None,
    setting: SettingOption = None,
    durability: DurabilityOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a pg on a storage; `pg start` starts it."""
    body: dict[str, Any] = {"name": one_name(name, option_name, "pg"), "storage_name": storage}
    given = {
        "branch": branch,
        "from": source,
        "port": port,
        "durability": durability,
        "settings": parse_settings(setting),
    }
    body |= {key: value for key, value in given.items() if value is not None}
    made = changed(of(ctx).client.call("PUT", "/pgs", body, dry_run=dry_run), output)
    if made is not None:
        show_one(made, output)


@app.command()
def destroy(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    discard_writes: DiscardWrites = False,
    dry_run: DryRun = False,
) -> None:
    """Remove a pg and its data directory; its branch stays."""
    pg = one_name(name, option_name, "pg")
    answer = of(ctx).client.call("DELETE", f"/pgs/{pg}", discard_writes=discard_writes, dry_run=dry_run)
    if not dry_run or changed(answer, Output.TABLE) is not None:
        say(f'pg "{pg}" is destroyed')


@app.command()
def start(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    replica: Annotated[bool, typer.Option("--replica", help="As a replica of the branch's primary.")] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start a pg and print its URL."""
    pg = one_name(name, option_name, "pg")
    more = {"is_replica": "replica"} if replica else {}
    _act(of(ctx), pg, "start", dry_run, output, **more)


@app.command()
def stop(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Shut a pg down cleanly; its data stays."""
    _act(of(ctx), one_name(name, option_name, "pg"), "stop", dry_run, output)


@app.command()
def restart(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Stop and start a pg, which applies changed settings, and print its URL."""
    _act(of(ctx), one_name(name, option_name, "pg"), "restart", dry_run, output)


@app.command()
def checkout(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="PG")],
    branch: Annotated[
        str, typer.Argument(metavar="[STORAGE/]BRANCH", help="Of its storage; - is the one before.")
    ],
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a pg on another branch, at the same URL."""
    pg = parse_name(name, "pg")
    client = of(ctx).client
    body = {"action": "checkout", "branch": _branch_of(client, pg, branch)}
    made = changed(client.call("POST", f"/pgs/{pg}/actions", body, dry_run=dry_run), output)
    if made is not None:
        show_one(made, output)


def _branch_of(client: Client, pg: str, word: str) -> str:
    """The branch of `[STORAGE/]BRANCH` that is in the pg's storage, or "-"."""
    if word == "-":
        return word
    storage, full, branch = word.rpartition("/")
    parse_name(branch, "branch")
    if full and (own := client.get(f"/pgs/{pg}")["storage_name"]) != parse_name(storage, "storage"):
        raise Invalid(
            f'branch "{word}" is in another storage than pg "{pg}"',
            detail=f'That is in "{own}", and a pg stays in its storage.',
            code="other_storage",
        )
    return branch


@app.command()
def promote(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a replica the primary of its branch."""
    _act(of(ctx), one_name(name, option_name, "pg"), "promote", dry_run, output)


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List all pgs."""
    pgs = of(ctx).client.get("/pgs")
    give(render.as_json(pgs) if output is Output.JSON else render.as_table(pgs, COLUMNS))


@app.command()
def show(
    ctx: typer.Context,
    name: NameArgument = None,
    option_name: NameOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show one pg."""
    pg = of(ctx).client.get(f"/pgs/{one_name(name, option_name, 'pg')}")
    give(render.as_json(pg) if output is Output.JSON else render.as_facts(pg))


def discard(session: Session, pg: str, output: Output) -> None:
    """Of a stopped pg the data directory, which its next start makes anew."""
    answer = session.client.call("POST", f"/pgs/{pg}/actions", {"action": "discard-cache"})
    say(f'the data directory of pg "{pg}" is gone: neon-compose pg start {pg} makes it anew')
    if output is Output.JSON:
        give(render.as_json(answer))


def show_one(pg: dict[str, Any], output: Output) -> None:
    """The pg as the result of a change, and what it has to say to people."""
    say_notes(pg)
    give(render.as_json(pg) if output is Output.JSON else render.as_table([pg], COLUMNS))


def say_notes(pg: dict[str, Any]) -> None:
    """What a pg that was made or changed has to say to people."""
    if pg.get("note"):
        say(f"note: {pg['note']}")
    if pg.get("restart_needed"):
        say(f"note: neon-compose pg restart {pg['name']} applies the changed settings")


def show_running(session: Session, pg: dict[str, Any], output: Output) -> None:
    """A pg that runs now: its URL with the password, or its document."""
    if output is Output.JSON:
        give(render.as_json(pg))
        return
    give(session.client.get(f"/pgs/{pg['name']}/url")["url"])


def parse_settings(pairs: list[str] | None) -> dict[str, str] | None:
    """["work_mem=64MB"] as a mapping. Raises `Invalid` for what has no `=` and for a name given twice."""
    if not pairs:
        return None
    settings: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or settings.get(key, value) != value:
            reason = (
                f"setting {key[:60]!a} is given twice"
                if equals and key
                else f"{pair[:60]!a} is not a setting"
            )
            raise Invalid(reason, hint="A setting looks like --set work_mem=64MB.", code="bad_setting")
        settings[key] = value
    return settings


def _act(session: Session, pg: str, action: str, dry_run: bool, output: Output, **more: str) -> None:
    body = {"action": action, **more}
    answer = changed(session.client.call("POST", f"/pgs/{pg}/actions", body, dry_run=dry_run), output)
    if answer is None:
        return
    if action == "stop":
        say(f'pg "{pg}" is stopped')
        if output is Output.JSON:
            give(render.as_json(answer))
    else:
        show_running(session, answer, output)
