"""Newline-delimited JSON of long requests, the same for pageserver and public API.

    {"event": "step", "name": "restore", "state": "start"}
    {"event": "step", "name": "restore", "state": "progress", "bytes": 8192, "total_bytes": 65536}
    {"event": "step", "name": "restore", "state": "done", "ms": 812.4}
    {"result": {…}}        or        {"problem": {…}}        exactly one, last

A stream that ends without its last line was cut off: reading it raises `Unavailable`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from neon_compose.errors import NeonError, Unavailable, as_problem, from_problem


class Step(BaseModel):
    """Something began, moves or is done. `bytes` of `total_bytes` are through, where both are known."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    event: Literal["step"] = "step"
    name: str
    state: Literal["start", "progress", "done"]
    ms: float | None = None
    bytes: int | None = None
    total_bytes: int | None = None
    note: str | None = None


class Result(BaseModel):
    """The last line of a stream that succeeded."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    result: dict[str, Any]


Event = Step | Result
Emit = Callable[[Step], None]


def encode(event: Event) -> bytes:
    """One line, with its line end."""
    return event.model_dump_json(exclude_none=True).encode() + b"\n"


def encode_problem(error: NeonError) -> bytes:
    """The last line of a stream that failed."""
    return json.dumps({"problem": as_problem(error)}).encode() + b"\n"


def decode(lines: Iterable[str]) -> Iterator[Event]:
    """Events of a stream, the `Result` last. Raises the error a problem line describes."""
    for line in lines:
        if not line.strip():
            continue
        event = _event(line)
        yield event
        if isinstance(event, Result):
            return
    raise Unavailable("the stream ended before its result", code="cut_off")


def _event(line: str) -> Event:
    try:
        document = json.loads(line)
        if "problem" in document:
            raise from_problem(document["problem"])
        return Result(**document) if "result" in document else Step(**document)
    except (ValueError, TypeError, ValidationError) as error:
        raise Unavailable(f"not an event: {line[:200]}", code="bad_event") from error
