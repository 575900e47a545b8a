"""The answer to a call that may have been a `--dry-run`."""

from __future__ import annotations

from typing import Any

from neon_compose.cli import render
from neon_compose.cli.args import Output
from neon_compose.cli.session import give, say

_COLUMNS: render.Columns = {"ACTION": "action", "TARGET": "target", "WHY": "why"}


def changed(answer: Any, output: Output) -> dict[str, Any] | None:
    """The changed thing; None when `answer` is a plan, which is printed instead."""
    if isinstance(answer, dict) and "plan" in answer:
        _give_plan(answer, output)
        return None
    return dict(answer or {})


def _give_plan(answer: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        give(render.as_json(answer))
    elif answer["plan"]:
        give(render.as_table(answer["plan"], _COLUMNS))
    else:
        say("nothing to do")
