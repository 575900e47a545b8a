"""`neon-compose branch`: writable copies."""

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
from neon_compose.cli.pg import (
    DurabilityOption,
    PortOption,
    SettingOption,
    parse_settings,
    say_notes,
    show_running,
)
from neon_compose.cli.plan import changed
from neon_compose.cli.session import Session, give, of, say
from neon_compose.errors import Conflict, Invalid, NotFound
from neon_compose.model.names import parse_name
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.source import Source, parse_source

app = typer.Typer(help="Branches: writable copies in a moment.", no_args_is_help=True, rich_markup_mode=None)

COLUMNS: render.Columns = {
    "STORAGE": "storage_name",
    "NAME": "name",
    "PARENT": "parent",
    "SNAPSHOT": "snapshot",
    "PG": "writer",
    "WRITES": "has_writes",
    "CREATED": "created_at",
}

StorageOption = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--s",
        "--storage",
        metavar="STORAGE",
        help="Default: the one it is found in.",
        show_default=False,
    ),
]


@app.command()
def create(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="SRC", help="[STORAGE/]NAME[@MOMENT]")],
    name: NameArgument = None,
    option_name: NameOption = None,
    storage: StorageOption = None,
    port: PortOption = None,
    setting: SettingOption = None,
    durability: DurabilityOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a branch and a pg of that name on it, start it, and print its URL."""
    branch = one_name(name, option_name, "branch")
    parsed = parse_source(source)
    session = of(ctx)
    body: dict[str, Any] = {
        "name": branch,
        "storage_name": parse_name(storage, "storage") if storage else _storage_of(session, parsed),
        "from": source,
        "start": True,
    }
    given = {"port": port, "durability": durability, "settings": parse_settings(setting)}
    body |= {key: value for key, value in given.items() if value is not None}
    made = changed(session.client.call("PUT", "/pgs", body, dry_run=dry_run), output)
    if made is not None:
        say_notes(made)
        show_running(session, made, output)


@app.command("list")
def list_(
    ctx: typer.Context,
    storage: Annotated[str | None, typer.Argument(metavar="STORAGE", show_default=False)] = None,
    option_storage: StorageOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the branches of a storage, or of all."""
    one = storage or option_storage
    client = of(ctx).client
    if one is not None:
        branches = client.get(f"/storages/{one_name(storage, option_storage, 'storage')}/branches")
    else:
        branches = _all_branches(of(ctx))
    give(render.as_json(branches) if output is Output.JSON else render.as_table(branches, COLUMNS))


@app.command()
def delete(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[STORAGE/]NAME", show_default=False)] = None,
    option_name: NameOption = None,
    storage: StorageOption = None,
    discard_writes: DiscardWrites = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a branch and its stopped pgs."""
    session = of(ctx)
    home, branch = _find_branch(session, name, option_name, storage)
    for pg in session.client.get("/pgs"):
        if (pg["storage_name"], pg["branch"]) == (home, branch):
            answer = session.client.call(
                "DELETE", f"/pgs/{pg['name']}", discard_writes=discard_writes, dry_run=dry_run
            )
            if not dry_run or changed(answer, Output.TABLE) is not None:
                say(f'pg "{pg["name"]}" is destroyed')
    answer = session.client.call("DELETE", f"/storages/{home}/branches/{branch}", dry_run=dry_run)
    if not dry_run or changed(answer, Output.TABLE) is not None:
        say(f'branch "{home}/{branch}" is deleted')


def _storage_of(session: Session, source: Source) -> str:
    """The storage a source is in, in the order of DESIGN 2: its own word, a pg, a storage, a branch."""
    if source.storage is not None:
        return source.storage
    pg = session.client.find(f"/pgs/{source.name}")
    if pg is not None:
        return str(pg["storage_name"])
    if session.client.find(f"/storages/{source.name}") is not None:
        return source.name
    return str(_only_branch(session, source.name)["storage_name"])


def _find_branch(
    session: Session, name: str | None, option_name: str | None, storage: str | None
) -> tuple[str, str]:
    given = name if name is not None else option_name
    if given is not None and "/" in given:
        home, _, branch = given.partition("/")
        if storage is not None and storage != home:
            raise Invalid(
                f"two storages for one branch: {home[:60]!a} and {storage[:60]!a}", code="two_names"
            )
        if name is not None and option_name is not None and name != option_name:
            one_name(name, option_name, "branch")
        return parse_name(home, "storage"), parse_name(branch, "branch")
    branch = one_name(name, option_name, "branch")
    if storage is not None:
        return parse_name(storage, "storage"), branch
    return str(_only_branch(session, branch)["storage_name"]), branch


def _only_branch(session: Session, name: str) -> dict[str, Any]:
    """The one branch with this name in all storages. Raises `NotFound`, or `Conflict` with the full forms."""
    branches = _all_branches(session)
    found = [branch for branch in branches if branch["name"] == name]
    if not found:
        known = did_you_mean(name, {str(branch["name"]) for branch in branches})
        raise NotFound(f'no pg, storage or branch "{name}"', hint=known, code="no_branch")
    if len(found) > 1:
        full = ", ".join(f"{branch['storage_name']}/{branch['name']}" for branch in found)
        raise Conflict(
            f'"{name}" is a branch of more than one storage',
            hint=f"Name one in full: {full}.",
            code="ambiguous",
        )
    return found[0]


def _all_branches(session: Session) -> list[dict[str, Any]]:
    """The branches of all storages that answer."""
    storages = session.client.get("/storages")
    return [
        branch
        for storage in storages
        if storage["state"] == "running"
        for branch in session.client.get(f"/storages/{storage['name']}/branches")
    ]
