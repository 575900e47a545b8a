"""/metrics, and the middleware that counts and times requests for it.

A request's label is its route, not its path, which a client chooses. An answer that goes on as long as its
reader likes is counted, but not timed.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neon_compose.api.deps import ROUTE, SiteOf
from neon_compose.api.problems import responses
from neon_compose.controller import figures
from neon_compose.metrics import CONTENT_TYPE, Count, Durations, Family, expose
from neon_compose.wait import monotonic_s

router = APIRouter(tags=["stack"])

_NO_ROUTE = "none"
_ENDLESS = "/events"
_METHODS = ("GET", "PUT", "POST", "DELETE")


class Requests:
    """What was asked so far."""

    def __init__(self) -> None:
        self.count = Count("http_requests_total", "Requests answered, by route and status.")
        self.times = Durations("http_request_duration_seconds", "Time until an answer's last byte, by route.")

    def families(self) -> list[Family]:
        return [self.count.family(), self.times.family()]


def requests_of(request: Request) -> Requests:
    found = request.app.state.requests
    assert isinstance(found, Requests)
    return found


RequestsOf = Annotated[Requests, Depends(requests_of)]


class Metered:
    """ASGI middleware, the outermost: what the guard refuses counts too."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"] = dict(scope.get("state") or {})
        status = 500
        begun_s = monotonic_s()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = state.get(ROUTE, _NO_ROUTE)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.count.one(method=method, route=route, status=str(status))
            if route != _ENDLESS:
                self._requests.times.took(monotonic_s() - begun_s, method=method, route=route)


@router.get(
    "/metrics",
    response_class=Response,
    responses={**responses(), 200: {"content": {"text/plain": {}}, "description": "Prometheus text, 0.0.4"}},
)
def show_metrics(site: SiteOf, requests: RequestsOf) -> Response:
    """Figures of the stack, its storages and pgs, and of what was asked of the controller and the engine."""
    text = expose([*figures.families(site), *requests.families()])
    return Response(text, headers={"Content-Type": CONTENT_TYPE})
