"""Results as text for people or JSON for programs. JSON is the server's document, unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Cell = Callable[[Document], object]
Columns = Mapping[str, str | Cell]


def as_json(document: object) -> str:
    return json.dumps(document, indent=2)


def as_table(rows: Sequence[Document], columns: Columns) -> str:
    """Rows under upper-case heads, columns two spaces apart; the heads alone when there is no row."""
    cells = [list(columns)]
    cells += [[_text(_value(row, column)) for column in columns.values()] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def as_facts(document: Document) -> str:
    """One `key: value` per line, keys aligned; what is null or empty is left out."""
    facts = [
        (key.replace("_", " "), _text(value))
        for key, value in document.items()
        if value not in (None, "", [], {})
    ]
    width = max((len(key) for key, _ in facts), default=0) + 1
    return "\n".join(f"{key + ':':<{width}} {value}" for key, value in facts)


def size(size_bytes: int | None) -> str:
    """1536 as "1.5 KiB"."""
    if size_bytes is None:
        return "-"
    value, units = float(size_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def seconds(duration_s: float) -> str:
    """How long, to three digits or so: "42 ms", "3.1 s", "2 min 5 s"."""
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    return f"{int(duration_s) // 60} min {int(duration_s) % 60} s"


def age(duration_s: float) -> str:
    """How long ago, in one unit: "42 s", "3 min", "5 h", "12 d"."""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if duration_s >= 2 * unit_s or (duration_s >= unit_s and unit == "min"):
            return f"{int(duration_s) // unit_s} {unit}"
    return f"{max(int(duration_s), 0)} s"


def _value(row: Document, column: str | Cell) -> object:
    return row.get(column) if isinstance(column, str) else column(row)


def _text(value: object) -> str:
    match value:
        case None | "" | [] | {}:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_text(one) for one in value)
        case dict():
            return ", ".join(f"{key}={_text(one)}" for key, one in value.items())
        case _:
            return "".join(letter if letter.isprintable() else "?" for letter in str(value))
