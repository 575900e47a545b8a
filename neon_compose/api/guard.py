"""What every request passes first: its Host, its token, the size of its body.

The Host check keeps web pages out that a browser was lured to (DNS rebinding). A JSON body is read
whole, up to 1 MiB by count and not by what its header claims, and is JSON whatever its Content-Type
says (`curl -d` sends forms). An upload is let through unread.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neon_compose.api import problems
from neon_compose.errors import ForeignHost, Malformed, NeonError, TooLarge, Unauthorised

MAX_BODY_BYTES = 1 << 20
OPEN_PATHS = frozenset({"/healthz", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

_UPLOAD = re.compile(r"/storages/[^/]+/import")
_PORT = re.compile(r":\d{1,5}$")


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = LOCAL_HOSTS | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_host(headers.get("host", ""))
            if scope["path"] not in OPEN_PATHS:
                self._check_token(headers.get("authorization", ""))
            if not (scope["method"] == "PUT" and _UPLOAD.fullmatch(scope["path"])):
                receive = _replay(await _read_body(headers, receive), receive)
                scope = {**scope, "headers": _as_json(scope["headers"])}
        except NeonError as error:
            await problems.response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        if _PORT.sub("", host.lower()) not in self._hosts:
            raise ForeignHost(
                f"host {host[:80]!a} is not served here",
                detail="Only local names are, so that no web page can reach this API.",
                hint='Use http://127.0.0.1, or name the host in the stack file ("host:").',
            )

    def _check_token(self, authorization: str) -> None:
        if not hmac.compare_digest(_given_token(authorization), self._token):
            raise Unauthorised(
                "the token is wrong" if authorization else "a token is needed",
                detail="It is given as Bearer, or as the password of Basic.",
                hint="neon-compose token prints it.",
            )


def _given_token(authorization: str) -> bytes:
    """The token of either scheme; what can't be read is no token."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the body broke off", code="cut_off")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large() -> TooLarge:
    return TooLarge("the body is over 1 MiB", hint="Dumps go to PUT /storages/NAME/import.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever comes (a disconnect)."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return left.pop() if left else await receive()

    return replayed


def _as_json(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = [pair for pair in headers if pair[0] != b"content-type"]
    return [*kept, (b"content-type", b"application/json")]
