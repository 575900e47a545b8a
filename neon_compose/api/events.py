"""/events: what goes on, as newline-delimited JSON, or as server-sent events to who asks for those.

A follower holds no thread: it waits in the event loop, and is read to only as fast as it takes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from neon_compose.api import streams
from neon_compose.api.deps import SiteOf
from neon_compose.api.problems import responses
from neon_compose.controller.events import EventLog, id_at
from neon_compose.model.moments import parse_since
from neon_compose.wait import now
from neon_compose.wire.events import EventOut
from neon_compose.wire.rest import Flag

router = APIRouter(tags=["stack"])

SSE = "text/event-stream"
_QUIET_S = 15.0  # a sign of life after so long, which also finds a client that is gone
_ID = re.compile(r"[0-9]{13,19}")
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {streams.MEDIA_TYPE: {}, SSE: {}},
        "description": "events, the oldest first; empty lines are signs of life",
    }
}


@router.get(
    "/events",
    responses={**responses(422), **_CONTENT},
    response_class=StreamingResponse,
    openapi_extra={"x-event": EventOut.model_json_schema(mode="serialization")},
)
async def stream_events(
    site: SiteOf,
    request: Request,
    follow: Annotated[Flag, Query(description="go on as they come; the answer has no end")] = False,
    since: Annotated[
        str | None, Query(description='a time with its zone, how long ago ("10m"), or an event\'s id')
    ] = None,
) -> StreamingResponse:
    """What the controller did and what became of its containers, as far as it is still known.

    With `follow` and no `since`, only what comes from now on. SSE if `Accept` says so, where
    `Last-Event-ID` counts as `since`.
    """
    sse = SSE in request.headers.get("accept", "")
    place = _place(site.events, since or (request.headers.get("last-event-id") if sse else None), follow)
    return EventStream(site.events, place, follow=follow, sse=sse)


class EventStream(StreamingResponse):
    """The events after `place`. Counts as a follower from here until the response has ended, however it does:
    so that one too many is a problem document of its own."""

    def __init__(self, events: EventLog, place: int, *, follow: bool, sse: bool) -> None:
        self._events, self._follow, self._sse = events, follow, sse
        self._ending = ExitStack()
        self._wake = asyncio.Event()
        if follow:
            loop = asyncio.get_running_loop()

            def wake() -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody reads any more
                    loop.call_soon_threadsafe(self._wake.set)

            self._ending.enter_context(events.woken(wake))
        super().__init__(
            self._messages(place),
            media_type=SSE if sse else streams.MEDIA_TYPE,
            headers={"Cache-Control": "no-store"},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._ending:
            await super().__call__(scope, receive, send)

    async def _messages(self, place: int) -> AsyncIterator[bytes]:
        while True:
            self._wake.clear()  # before looking: what is told after it wakes us
            found = self._events.after(place)
            for event in found:
                place = event.id
                yield _message(event, sse=self._sse)
            if found:
                continue
            if not self._follow or self._events.closed:
                return
            try:
                await asyncio.wait_for(self._wake.wait(), _QUIET_S)
            except TimeoutError:
                yield b":\n\n" if self._sse else b"\n"


def _place(events: EventLog, since: str | None, follow: bool) -> int:
    """The id after which to begin."""
    if since is None:
        return events.last if follow else 0
    if _ID.fullmatch(since):
        return int(since)
    return max(id_at(parse_since(since, now())) - 1, 1)


def _message(event: EventOut, *, sse: bool) -> bytes:
    document = event.model_dump_json(exclude_none=True)
    if sse:
        return f"id: {event.id}\nevent: {event.kind}\ndata: {document}\n\n".encode()
    return document.encode() + b"\n"
