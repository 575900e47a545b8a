"""The table people read and the JSON that keeps every pair."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.goals import Measure
from tests.bench.pairs import Spread

HEAD = "| measure | floor | ours | ratio median (p10-p90) | goal | met |\n|---|---|---|---|---|---|"


def row(measure: Measure) -> str:
    cells = (
        measure.name,
        _value(measure.floor, measure.unit),
        _value(measure.ours, measure.unit),
        _ratio(measure.ratio),
        measure.goal.text if measure.goal else "",
        _met(measure.met),
    )
    return f"| {' | '.join(cells)} |"


def table(measures: Sequence[Measure]) -> str:
    return "\n".join([HEAD, *map(row, measures)])


def _value(spread: Spread | None, unit: str) -> str:
    return f"{_number(spread.median)} {unit}" if spread else ""


def _number(value: float) -> str:
    """Three figures, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(spread: Spread | None) -> str:
    if not spread:
        return ""
    digits = 2 if spread.median >= 0.1 else 4
    return f"{spread.median:.{digits}f} ({spread.p10:.{digits}f}-{spread.p90:.{digits}f})"


def _met(met: bool | None) -> str:
    return "" if met is None else ("yes" if met else "**no**")


def as_document(measure: Measure) -> dict[str, object]:
    return {
        "name": measure.name,
        "unit": measure.unit,
        "floor_is": measure.floor_is,
        "floor": asdict(measure.floor) if measure.floor else None,
        "ours": asdict(measure.ours),
        "ratio": asdict(measure.ratio) if measure.ratio else None,
        "goal": measure.goal.text if measure.goal else None,
        "met": measure.met,
        "discarded_first": measure.discarded,
        "pairs": [asdict(pair) if measure.has_floor else pair.ours for pair in measure.recorded],
        "notes": measure.notes,
    }


def write(path: Path, about: Mapping[str, object], measures: Sequence[Measure]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**about, "measures": [as_document(measure) for measure in measures]}
    path.write_text(json.dumps(document, indent=1) + "\n")
