"""A dump that is passed on to the pageserver while it comes: nothing is kept, the slower side sets the pace.

The work runs in a thread and reads from a bounded feed; the request's body fills it. When the client
goes away, before or after the last byte, the work fails at its next chunk or step, and its undo removes
what it made.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from neon_compose.api import problems
from neon_compose.api.streams import MEDIA_TYPE, Line, encoded, started
from neon_compose.errors import NeonError, Unavailable
from neon_compose.wire.ndjson import Emit
from neon_compose.wire.ndjson import Step as Event

_CHUNKS = 16  # of 64 KiB, as uvicorn hands them out
_TICK_S = 0.5


class Feed:
    """A bounded queue from the event loop to a thread."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_CHUNKS)
        self._gone = threading.Event()  # the client
        self._unwanted = threading.Event()  # the work has ended: nobody reads any more

    def put(self, chunk: bytes | None) -> None:
        """Wait for room; None is the end. Returns at once when nobody reads any more."""
        while not self._unwanted.is_set():
            try:
                self._queue.put(chunk, timeout=_TICK_S)
                return
            except queue.Full:
                continue

    def client_gone(self) -> None:
        self._gone.set()

    def done(self) -> None:
        self._unwanted.set()

    def check(self) -> None:
        if self._gone.is_set():
            raise Unavailable("the client went away", detail="Nothing was kept.", code="client_gone")

    def chunks(self) -> Iterator[bytes]:
        """Until the end; raises `Unavailable` (code "client_gone")."""
        while True:
            self.check()
            try:
                chunk = self._queue.get(timeout=_TICK_S)
            except queue.Empty:
                continue
            if chunk is None:
                return
            yield chunk


class UploadResponse(Response):
    """Runs `work(emit, chunks)` over the request's body, and answers with its NDJSON."""

    media_type = MEDIA_TYPE

    def __init__(self, work: Callable[[Emit, Iterator[bytes]], BaseModel]) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        feed = Feed()

        def work(emit: Emit) -> BaseModel:
            def checked(event: Event) -> None:
                feed.check()
                emit(event)

            try:
                return self._work(checked, feed.chunks())
            finally:
                feed.done()

        lines = started(work)
        filling = asyncio.create_task(_fill(feed, receive))
        try:
            await _answer(lines, scope, receive, send)
        finally:
            feed.client_gone()  # without effect once the work has ended
            filling.cancel()


async def _fill(feed: Feed, receive: Receive) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            feed.client_gone()
            return
        more = message.get("more_body", False)
        if body := message.get("body", b""):
            await asyncio.to_thread(feed.put, body)
    await asyncio.to_thread(feed.put, None)
    while (await receive())["type"] != "http.disconnect":
        pass
    feed.client_gone()


async def _answer(lines: queue.SimpleQueue[Line], scope: Scope, receive: Receive, send: Send) -> None:
    line = await asyncio.to_thread(lines.get)
    if isinstance(line, NeonError):
        await problems.response(line)(scope, receive, send)
        return
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        last = not isinstance(line, Event)
        await send({"type": "http.response.body", "body": encoded(line), "more_body": not last})
        if last:
            return
        line = await asyncio.to_thread(lines.get)
