"""`neon-compose branch`: writable copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from neon_compose.cli import branchlog, branchtree, diffs, render
from neon_compose.cli.args import (
    DiscardWrites,
    DryRun,
    NameArgument,
    NameOption,
    Output,
    OutputOption,
    one_name,
)
from neon_compose.cli.diffs import ExitCodeOption
from neon_compose.cli.finding import (
    PlaceArgument,
    SourceArgument,
    StorageOption,
    all_branches,
    all_deleted,
    branch_of,
    find_branch,
    find_deleted,
    storage_of,
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
from neon_compose.errors import Invalid, NotFound
from neon_compose.model.moments import parse_moment
from neon_compose.model.names import parse_name
from neon_compose.model.protection import protected
from neon_compose.model.source import parse_source
from neon_compose.model.ttl import parse_ttl
from neon_compose.wait import now

KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="NAME",
        help="What its old state is to be called. Default: NAME-before-TIME.",
        show_default=False,
    ),
]

AcceptLossOption = Annotated[
    bool, typer.Option("--accept-loss", help="Give up what was committed since then.")
]
TtlOption = Annotated[
    str | None,
    typer.Option(
        "--ttl", metavar="TIME", help="It goes, with its pgs, after 90s, 30m, 2h or 7d.", show_default=False
    ),
]

_DELETED: render.Columns = {
    "STORAGE": "storage_name",
    "NAME": "name",
    "PARENT": "parent",
    "DELETED": "deleted_at",
    "LEFT": lambda row: render.age(row["left_s"]),
}

app = typer.Typer(help="Branches: writable copies in a moment.", no_args_is_help=True, rich_markup_mode=None)


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
    ttl: TtlOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a branch and a pg of that name on it, start it, and print its URL."""
    branch = one_name(name, option_name, "branch")
    parsed = parse_source(source)
    session = of(ctx)
    body: dict[str, Any] = {
        "name": branch,
        "storage_name": parse_name(storage, "storage") if storage else storage_of(session, parsed),
        "from": source,
        "start": True,
    }
    if ttl is not None:
        parse_ttl(ttl)
    given = {"port": port, "ttl": ttl, "durability": durability, "settings": parse_settings(setting)}
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
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those that undelete can take back, and for how long.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the branches of a storage, or of all."""
    session = of(ctx)
    if storage is not None or option_storage is not None:
        home = one_name(storage, option_storage, "storage")
        what = "deleted-branches" if deleted else "branches"
        branches = session.client.get(f"/storages/{home}/{what}")
    else:
        branches = all_deleted(session) if deleted else all_branches(session)
    if output is Output.JSON:
        give(render.as_json(branches))
    elif deleted:
        give(render.as_table(branches, _DELETED))
    else:
        give(render.as_table(*branchtree.rows(branches, now())))


@app.command()
def log(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="How many minutes with commits, the newest. Default: 60.",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Commits per minute of what is a branch's own. The last column is the moment after them, for --from."""
    home, branch = branch_of(of(ctx), name, storage)
    found = of(ctx).client.get(f"/storages/{home}/branches/{branch}/log", limit=limit)
    give(render.as_json(found) if output is Output.JSON else branchlog.table(home, branch, found))
    if note := branchlog.note(home, branch, found):
        say(note)


@app.command()
def diff(
    ctx: typer.Context,
    before: SourceArgument,
    after: SourceArgument,
    storage: StorageOption = None,
    exit_code: ExitCodeOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Compare two moments of branches of a storage: the schema, and pages by table."""
    source = parse_source(before)
    session = of(ctx)
    home, branch = branch_of(session, before.partition("@")[0], storage)
    body = {"action": "diff", "with": str(parse_source(after))}
    if source.moment is not None:
        body |= {"at": str(source.moment)}
    where = f"/storages/{home}/branches/{branch}/actions"
    diffs.show(session, where, body, output, exit_code=exit_code)


@app.command()
def restore(
    ctx: typer.Context,
    to: Annotated[
        str, typer.Option("--to", metavar="MOMENT", help="5m, 2026-11-28T10:00:00Z, an LSN, or a snapshot.")
    ],
    name: PlaceArgument = None,
    storage: StorageOption = None,
    keep: KeepOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a branch back to a moment. Its pg keeps its URL; what the branch was stays, as another."""
    parse_moment(to)
    _act(of(ctx), name, storage, {"action": "restore", "to": to}, keep, dry_run, output)


@app.command()
def reset(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    keep: KeepOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a branch to the latest state of its parent; else as restore."""
    _act(of(ctx), name, storage, {"action": "reset"}, keep, dry_run, output)


def _act(
    session: Session,
    name: str | None,
    storage: str | None,
    body: dict[str, str],
    keep: str | None,
    dry_run: bool,
    output: Output,
) -> None:
    if keep is not None:
        body |= {"keep": parse_name(keep, "branch")}
    home, branch = branch_of(session, name, storage)
    where = f"/storages/{home}/branches/{branch}/actions"
    done = changed(session.client.call("POST", where, body, dry_run=dry_run), output)
    if done is None:
        return
    now_at = done["branch"]["start_lsn"]
    say(f'branch "{home}/{branch}" is at {now_at}; what it was is branch "{home}/{done["kept"]}"')
    if output is Output.JSON:
        give(render.as_json(done))


@app.command()
def protect(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Refuse to delete, restore, reset or refresh a branch, until it is unprotected."""
    _mark(of(ctx), name, storage, {"action": "protect"}, dry_run, output)


@app.command()
def unprotect(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take the protection of a branch away."""
    _mark(of(ctx), name, storage, {"action": "unprotect"}, dry_run, output)


@app.command()
def recover(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    accept_loss: AcceptLossOption = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a branch whose safekeepers are lost for good go on from what the storage has of its WAL."""
    _mark(of(ctx), name, storage, {"action": "recover", "accept_loss": accept_loss}, dry_run, output)


@app.command()
def expire(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    ttl: TtlOption = None,
    never: Annotated[bool, typer.Option("--never", help="It stays until it is deleted.")] = False,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Have a branch deleted after a time from now, with its pgs and what they wrote; or never."""
    if (ttl is None) is not never:
        raise Invalid("one of --ttl and --never", hint="For example --ttl 2h.", code="bad_ttl")
    if ttl is not None:
        parse_ttl(ttl)
    _mark(of(ctx), name, storage, {"action": "expire", "ttl": ttl}, dry_run, output)


def _mark(
    session: Session,
    name: str | None,
    storage: str | None,
    body: Mapping[str, str | bool | None],
    dry_run: bool,
    output: Output,
) -> None:
    home, branch = branch_of(session, name, storage)
    where = f"/storages/{home}/branches/{branch}/actions"
    done = changed(session.client.call("POST", where, body, dry_run=dry_run), output)
    if done is None:
        return
    end = f"expires at {done['expires']}" if done.get("expires") else "does not expire"
    said = "is protected" if done.get("protected") else "is not protected"
    ends = {"expire": end, "recover": "goes on from what its storage has: start its pg"}
    say(f'branch "{home}/{branch}" {ends.get(str(body["action"]), said)}')
    if output is Output.JSON:
        give(render.as_json(done))


@app.command()
def delete(
    ctx: typer.Context,
    name: PlaceArgument = None,
    option_name: NameOption = None,
    storage: StorageOption = None,
    discard_writes: DiscardWrites = False,
    cascade: Annotated[
        bool,
        typer.Option("--cascade", help="With its snapshots and all branches of it; none may have a pg."),
    ] = False,
    for_good: Annotated[
        bool, typer.Option("--now", help="For good, and its disk is free; also of a deleted branch.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a branch and its stopped pgs, or with --cascade all that was made from it.

    For 24 hours undelete takes it back."""
    session = of(ctx)
    try:
        home, branch = find_branch(session, name, option_name, storage)
    except NotFound:
        if not for_good:
            raise
        home, branch = find_deleted(session, name or option_name, storage)
    if (session.client.find(f"/storages/{home}/branches/{branch}") or {}).get("protected"):
        raise protected(branch)  # before its pgs go
    for pg in [] if cascade else session.client.get("/pgs"):
        if (pg["storage_name"], pg["branch"]) == (home, branch):
            answer = session.client.call(
                "DELETE", f"/pgs/{pg['name']}", discard_writes=discard_writes, dry_run=dry_run
            )
            if not dry_run or changed(answer, Output.TABLE) is not None:
                say(f'pg "{pg["name"]}" is destroyed')
    answer = session.client.call(
        "DELETE", f"/storages/{home}/branches/{branch}", cascade=cascade, now=for_good, dry_run=dry_run
    )
    if not dry_run or changed(answer, Output.TABLE) is not None:
        say(f'branch "{home}/{branch}" is deleted' + (" for good" if for_good else ""))


@app.command()
def undelete(
    ctx: typer.Context,
    name: PlaceArgument = None,
    storage: StorageOption = None,
    new_name: Annotated[
        str | None, typer.Option("--as", metavar="OTHER", help="Under another name.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take back a branch that was deleted in the last 24 hours, with all it had but its snapshots and pgs."""
    session = of(ctx)
    home, branch = find_deleted(session, name, storage)
    body = {"action": "undelete"}
    if new_name is not None:
        body |= {"as": parse_name(new_name, "branch")}
    where = f"/storages/{home}/branches/{branch}/actions"
    done = changed(session.client.call("POST", where, body, dry_run=dry_run), output)
    if done is None:
        return
    say(f'branch "{home}/{done["name"]}" is back')
    if output is Output.JSON:
        give(render.as_json(done))
