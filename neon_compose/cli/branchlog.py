"""`branch log` as a table, whose moments can be pasted."""

from __future__ import annotations

from datetime import datetime

from neon_compose.cli import render
from neon_compose.cli.render import Columns, Document


def table(storage: str, branch: str, log: Document) -> str:
    columns: Columns = {
        "MINUTE (UTC)": lambda row: datetime.fromisoformat(row["minute"]).strftime("%Y-%m-%d %H:%M"),
        "COMMITS": "commits",
        "CATALOG CHANGES": lambda row: row["catalog_changes"] or None,
        "WAL": lambda row: render.size(row["wal_bytes"]),
        "MOMENT AFTER": lambda row: f"{storage}/{branch}@{row['last_lsn']}",
    }
    return render.as_table(log["minutes"], columns)


def note(storage: str, branch: str, log: Document) -> str:
    """What the table can't say; may be empty."""
    if log["more"]:
        return f"older minutes are left out: --limit {2 * len(log['minutes'])} shows more"
    if log["minutes"]:
        return ""
    if log["start_lsn"] == log["end_lsn"]:
        return f'safekeepers have no WAL of branch "{storage}/{branch}" of its own'
    return f'nothing was committed in the WAL of branch "{storage}/{branch}"'
