"""`neon-compose status`: the whole stack at a glance."""

from __future__ import annotations

from typing import Any

import typer

from neon_compose.cli import pg, render, storage
from neon_compose.cli.args import Output, OutputOption
from neon_compose.cli.session import give, of

_COMPONENTS: render.Columns = {
    "CONTAINER": "name",
    "COMPONENT": "component",
    "STATE": "state",
    "HEALTH": lambda one: {True: "healthy", False: "not healthy"}.get(one.get("healthy"), "-"),  # type: ignore[arg-type]
    "PORTS": "ports",
    "ADDRESS": "address",
}


def status(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show containers, storages, pgs and problems."""
    document = of(ctx).client.get("/status")
    give(render.as_json(document) if output is Output.JSON else _readable(document))


def _readable(document: dict[str, Any]) -> str:
    busy = f" ({document['busy']})" if document.get("busy") else ""
    parts = [f"stack {document['stack']}, neon-compose {document['version']}{busy}"]
    for rows, columns in (("components", _COMPONENTS), ("storages", storage.COLUMNS), ("pgs", pg.COLUMNS)):
        if document.get(rows):
            parts.append(render.as_table(document[rows], columns))
    if any(one.get("settling") for one in document.get("pgs", [])):
        names = ", ".join(one["name"] for one in document["pgs"] if one.get("settling"))
        parts.append(f"settling (a commit survives a kill, not yet a power cut): {names}")
    parts += [f"problem: {problem}" for problem in document.get("problems", [])]
    return "\n\n".join(parts)
