"""`branch diff` and `snapshot diff`: what differs, as text. A unified diff, then a table of tables.

Coloured as git does it, on a terminal only, and not if NO_COLOR is set (no-color.org).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from neon_compose import settings
from neon_compose.cli import render
from neon_compose.cli.args import Output
from neon_compose.cli.render import Columns, Document
from neon_compose.cli.session import Session, give, say

DIFFERENT = 1

ExitCodeOption = Annotated[
    bool, typer.Option("--exit-code", help="Exit with 1 if anything differs, as git diff does.")
]

_PAGE = 8192
_COLOURS = {"---": "1", "+++": "1", "@@ ": "36", "-": "31", "+": "32"}  # the first that a line begins with


def show(session: Session, where: str, body: dict[str, Any], output: Output, *, exit_code: bool) -> None:
    """Ask, print, and exit with 1 for a difference if that is wanted."""
    from neon_compose.cli.progress import reporter, result_of

    with reporter() as steps:
        found = result_of(session.client.stream("POST", where, body), steps)
    if output is Output.JSON:
        give(render.as_json(found))
    elif text := as_text(found, coloured=sys.stdout.isatty() and not settings.text("NO_COLOR")):
        give(text)
    if not found["databases"]:
        say(f"no difference between {_moment(found['before'])} and {_moment(found['after'])}")
    elif exit_code:
        raise typer.Exit(DIFFERENT)


def as_text(diff: Document, *, coloured: bool) -> str:
    parts = [_database(one, diff, coloured=coloured) for one in diff["databases"]]
    rows = [{**table, "database": one["name"]} for one in diff["databases"] for table in one["tables"]]
    if rows:
        parts.append(render.as_table(rows, _COLUMNS))
    return "\n".join(filter(None, parts))


def _database(one: Document, diff: Document, *, coloured: bool) -> str:
    match one["change"]:
        case "added":
            return f'database "{one["name"]}" is only at {_moment(diff["after"])}'
        case "removed":
            return f'database "{one["name"]}" is only at {_moment(diff["before"])}'
    lines = one["ddl"].splitlines()
    return "\n".join(_coloured(lines) if coloured else lines)


def _coloured(lines: list[str]) -> Iterator[str]:
    """The first two lines are heads; a removed comment begins like one."""
    for number, line in enumerate(lines):
        colour = next((code for start, code in _COLOURS.items() if line.startswith(start)), None)
        if number > 1 and colour == "1":
            colour = _COLOURS[line[0]]
        yield f"\x1b[{colour}m{line}\x1b[m" if colour else line


def _moment(moment: Document) -> str:
    return f"{moment['branch']}@{moment['lsn']}"


def _size(pages: int) -> str | None:
    return render.size(pages * _PAGE) if pages else None


_COLUMNS: Columns = {
    "DATABASE": "database",
    "TABLE": "name",
    "CHANGE": "change",
    "BEFORE": lambda row: _size(row["pages"]["before"]),
    "AFTER": lambda row: _size(row["pages"]["after"]),
    "CHANGED PAGES": lambda row: row["pages"]["changed"] or None,
    "CHANGED": lambda row: _size(row["pages"]["changed"]),
    "OF INDEXES": lambda row: _size(row["index_pages"]["changed"]),
}
