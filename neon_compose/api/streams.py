"""Long requests as newline-delimited JSON: steps while they happen, then `result` or `problem`.

What fails before its first step is a plain problem with its own status. A client that goes away does
not stop the work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from neon_compose.errors import Bug, NeonError
from neon_compose.log import get
from neon_compose.wire.ndjson import Emit, Result, encode, encode_problem
from neon_compose.wire.ndjson import Step as Event

log = get(__name__)

MEDIA_TYPE = "application/x-ndjson"
NDJSON: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {}}, "description": "steps, then `result` or `problem`"}
}
Line = Event | Result | NeonError


def started(work: Callable[[Emit], BaseModel]) -> queue.SimpleQueue[Line]:
    """Do `work` in a thread; its steps, then its result or error, come out of the queue."""
    lines: queue.SimpleQueue[Line] = queue.SimpleQueue()

    def run() -> None:
        try:
            result = work(lines.put)
            lines.put(Result(result=result.model_dump(mode="json")))
        except NeonError as error:
            lines.put(error)
        except Exception as error:  # the border of a thread: nobody else would see it
            log.exception("a long request failed")
            lines.put(Bug("internal error", detail=f"{type(error).__name__}."))

    threading.Thread(target=run, name="long-request", daemon=True).start()
    return lines


def ndjson(work: Callable[[Emit], BaseModel]) -> StreamingResponse:
    """`work` as a response. Raises what it raises before its first step."""
    lines = started(work)
    first = lines.get()
    if isinstance(first, NeonError):
        raise first
    return StreamingResponse(_lines(first, lines), media_type=MEDIA_TYPE)


def _lines(line: Line, rest: queue.SimpleQueue[Line]) -> Iterator[bytes]:
    while True:
        yield encoded(line)
        if not isinstance(line, Event):
            return
        line = rest.get()


def encoded(line: Line) -> bytes:
    return encode_problem(line) if isinstance(line, NeonError) else encode(line)
