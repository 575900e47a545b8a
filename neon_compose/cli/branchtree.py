"""Branches as the tree they are: each below what it was made from. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from neon_compose.cli import render
from neon_compose.cli.render import Columns, Document


def rows(branches: Sequence[Document], now: datetime) -> tuple[list[Document], Columns]:
    """What `render.as_table` takes: by storage, children indented below their parents."""
    columns: Columns = {
        "STORAGE": "storage_name",
        "NAME": lambda row: "  " * row["depth"] + row["name"],
        "PARENT": "parent",
        "START": lambda row: row.get("snapshot") or row.get("start_lsn"),
        "PG": "writer",
        "WRITES": "has_writes",
        "OWN": lambda row: render.size(row.get("own_bytes")),
        "WAL": lambda row: render.size(row.get("wal_bytes")),
        "AGE": lambda row: _age(row, now),
        "KEPT": lambda row: _kept(row, now),
    }
    storages = sorted({row["storage_name"] for row in branches})
    trees = (_tree([row for row in branches if row["storage_name"] == one]) for one in storages)
    return [row for tree in trees for row in tree], columns


def _tree(branches: Sequence[Document]) -> Iterator[Document]:
    names = {row["name"] for row in branches}
    pending = [(row, 0) for row in branches if row.get("parent") not in names]
    pending.sort(key=lambda one: one[0]["name"], reverse=True)
    while pending:
        row, depth = pending.pop()
        yield {**row, "depth": depth}
        children = [child for child in branches if child.get("parent") == row["name"]]
        children.sort(key=lambda child: child["name"], reverse=True)
        pending += [(child, depth + 1) for child in children]


def _kept(row: Document, now: datetime) -> str | None:
    """Why it doesn't go, or when it does."""
    if row.get("protected"):
        return "protected"
    if not (at := row.get("expires")):
        return None
    left_s = (datetime.fromisoformat(at) - now).total_seconds()
    return f"for {render.age(left_s)}" if left_s > 0 else "its time is over"


def _age(row: Document, now: datetime) -> str | None:
    made = row.get("created_at")
    return render.age((now - datetime.fromisoformat(made)).total_seconds()) if made else None
