"""The one HTTP client: JSON in and out, problem documents as errors, NDJSON as events.

Where the controller is and which token it takes is asked of `find`, once more (`fresh`) when the first
answer led nowhere: the controller may have been made anew since the state file was written.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from neon_compose.cli.access import Access
from neon_compose.errors import (
    NeonError,
    NotFound,
    TimedOut,
    Unauthorised,
    Unavailable,
    from_problem,
    sentence,
)

if TYPE_CHECKING:
    import httpx

    from neon_compose.wire.ndjson import Event

Find = Callable[[bool], Access]
T = TypeVar("T")

CONNECT_S = 5.0
LOOK_S = 30.0  # whoever only looks is answered in a fraction of a second, or by the deadline of what hangs
ANSWER_S = 330.0  # a clean stop of a busy compute may take 60 s, of a whole stack 300 s
OPEN_S = 1200.0  # the controller waits 900 s for a pg to open, then says what it was waiting for
STREAM_S = 3600.0  # the longest silence between two events of an import


def path(*parts: str) -> str:
    """A URL path of `parts`, each quoted as a whole."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """Calls to one controller. `transport` stands in for the network in tests."""

    def __init__(self, find: Find, transport: httpx.BaseTransport | None = None) -> None:
        self._find = find
        self._transport = transport
        self._http: httpx.Client | None = None

    def call(self, method: str, where: str, body: object = None, **params: object) -> Any:
        """The parsed answer; raises the error of a problem document, `Unavailable`, `TimedOut`."""
        return self._twice(
            lambda http: _answer(
                http.request(
                    method, where, json=body, params=_flags(params), timeout=_deadline(method, where)
                )
            )
        )

    def get(self, where: str, **params: object) -> Any:
        return self.call("GET", where, **params)

    def find(self, where: str) -> Any | None:
        """The parsed answer, or None when there is no such thing."""
        try:
            return self.get(where)
        except NotFound:
            return None

    def stream(
        self,
        method: str,
        where: str,
        body: object = None,
        content: Iterator[bytes] | None = None,
        **params: object,
    ) -> Iterator[Event]:
        """Events of a long request, the `Result` last; raises the error of its problem line.

        `content` can't be sent twice, so a stale token is found out by a small call first.
        """
        self.check()
        http = self._connect()
        httpx = _httpx()
        sending: dict[str, Any] = {"content": content} if content is not None else {"json": body}
        with (
            _translated(),
            http.stream(
                method,
                where,
                params=_flags(params),
                timeout=httpx.Timeout(STREAM_S, connect=CONNECT_S),
                **sending,
            ) as response,
        ):
            yield from _events(response)

    def lines(self, where: str, **params: object) -> Iterator[str]:
        """Lines of an answer that may go on for ever; empty ones are signs of life, and left out."""
        self.check()
        http = self._connect()
        timeout = _httpx().Timeout(LOOK_S, connect=CONNECT_S)  # it gives a sign of life more often than that
        with (
            _translated(),
            http.stream("GET", where, params=_flags(params), timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                raise _problem(response)
            yield from filter(None, response.iter_lines())

    def check(self) -> Access:
        """Make sure that somebody answers and takes the token; raises as `call`."""
        self.get("/components")
        return self._find(False)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _twice(self, request: Callable[[httpx.Client], T]) -> T:
        try:
            with _translated():
                return request(self._connect())
        except (Unauthorised, NoAnswer) as error:
            before = self._find(False)
            if self._find(True) == before:
                raise error
        self.close()
        with _translated():
            return request(self._connect())

    def _connect(self) -> httpx.Client:
        if self._http is None:
            self._http = _open(self._find(False), self._transport)
        return self._http


class NoAnswer(Unavailable):
    """Nothing listens where the controller should be."""


@contextmanager
def _translated() -> Iterator[None]:
    """Turn httpx's errors into ours, once, here."""
    httpx = _httpx()
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NoAnswer(
            "the controller does not answer",
            detail=sentence(error),
            hint="neon-compose up -d starts it; neon-compose doctor says what is wrong.",
            code="controller_down",
        ) from error
    except httpx.TimeoutException as error:
        raise TimedOut(
            "the controller took too long to answer",
            hint="If it hangs, docker kill its container, which stops nothing else, "
            "and run neon-compose up -d.",
            code="controller_slow",
        ) from error
    except httpx.HTTPError as error:
        raise Unavailable(
            "the connection to the controller broke",
            detail=sentence(error),
            hint="neon-compose logs shows what it said last.",
            code="connection_lost",
        ) from error


def _httpx() -> Any:
    """httpx without its own command line, whose imports (click, rich, pygments) cost 35 ms.

    httpx takes an ImportError of that module as "not installed" and goes on.
    """
    if "httpx" not in sys.modules:
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
    return importlib.import_module("httpx")


def _deadline(method: str, where: str) -> Any:
    opens = method in ("PUT", "POST") and (where.startswith("/pgs") or "/branches/" in where)
    looks = method == "GET" and not where.endswith("/log")  # which reads WAL, however much there is
    longest_s = LOOK_S if looks else OPEN_S if opens or method == "GET" else ANSWER_S
    return _httpx().Timeout(longest_s, connect=CONNECT_S)


def _open(access: Access, transport: httpx.BaseTransport | None) -> httpx.Client:
    """Plain HTTP to this machine: no proxy and no certificates (loading the CA bundle takes 20 ms)."""
    module = _httpx()
    opened: httpx.Client = module.Client(
        base_url=access.url,
        headers={"Authorization": f"Bearer {access.token}"},
        timeout=module.Timeout(ANSWER_S, connect=CONNECT_S),
        transport=transport or module.HTTPTransport(verify=False, trust_env=False),
        trust_env=False,
        verify=False,
    )
    return opened


def _flags(params: dict[str, object]) -> dict[str, str]:
    """Query parameters: None and False are left out."""
    return {
        key: "true" if value is True else str(value)
        for key, value in params.items()
        if value not in (None, False)
    }


def _answer(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json() if response.content else None
    raise _problem(response)


def _events(response: httpx.Response) -> Iterator[Event]:
    from neon_compose.wire.ndjson import Result, decode

    if not response.is_success:
        response.read()
        raise _problem(response)
    if not response.headers.get("content-type", "").startswith("application/x-ndjson"):
        response.read()
        yield Result(result=_answer(response))
        return
    yield from decode(response.iter_lines())


def _problem(response: httpx.Response) -> NeonError:
    try:
        document = json.loads(response.content)
    except ValueError:
        document = None
    if isinstance(document, dict) and "title" in document:
        return from_problem(document)
    return Unavailable(
        f"something else answers at {response.url.copy_with(query=None)}",
        detail=f"It says {response.status_code} {response.reason_phrase}.",
        hint="neon-compose doctor says who listens there.",
        code="not_ours",
    )
