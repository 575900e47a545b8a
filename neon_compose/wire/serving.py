"""What the internal servers have in common: the token, errors as problem documents (RFC 9457), /healthz.

Handlers are plain functions in threads; there is room for many that wait.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from neon_compose import log
from neon_compose.disks import Disks
from neon_compose.errors import Bug, Invalid, Malformed, NeonError, NotFound, Unauthorised, as_problem

_log = log.get(__name__)
_THREADS = 256


def internal_app(
    title: str,
    routes: APIRouter,
    token: str,
    disks: Disks,
    start: Callable[[], None] = lambda: None,
    stop: Callable[[], None] = lambda: None,
) -> FastAPI:
    """`routes` under /v1 for who has the stack's internal token; /healthz for all. `start` is called before
    the first request, `stop` after the last."""
    lifespan = _lifespan(start, stop)
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.include_router(routes, prefix="/v1", dependencies=[Depends(_token_check(token))])

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    async def render(request: Request, error: Exception) -> Response:
        said = disks.explain(error) or error
        return await (_render_problem if isinstance(said, NeonError) else _render_bug)(request, said)

    app.add_exception_handler(NeonError, render)
    app.add_exception_handler(OSError, render)
    app.add_exception_handler(RequestValidationError, _render_validation)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(ClientDisconnect, _render_gone)
    app.add_exception_handler(Exception, _render_bug)
    return app


def _lifespan(
    start: Callable[[], None], stop: Callable[[], None]
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Room for many calls that wait: each `open` keeps its thread until its compute is up."""
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        start()
        yield
        await run_in_threadpool(stop)

    return lifespan


def _token_check(token: str) -> Callable[[Request], None]:
    wanted = f"Bearer {token}".encode()

    def check(request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, wanted):
            raise Unauthorised("the internal token is missing or wrong")

    return check


def _problem(error: NeonError) -> JSONResponse:
    return JSONResponse(as_problem(error), status_code=error.status, media_type="application/problem+json")


async def _render_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, NeonError)
    if error.status >= 500:
        _log.error("%s (%s)", error.message, error.detail)
    return _problem(error)


async def _render_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    if first["type"] == "json_invalid":
        return _problem(Malformed("the body is not JSON", detail=str(first["ctx"].get("error", ""))))
    return _problem(Invalid(f'field "{where}" is not valid', detail=str(first["msg"]) + "."))


async def _render_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    response = _problem(NotFound(f"there is no {what}", code="no_route"))
    response.status_code = error.status_code
    return response


async def _render_gone(_: Request, error: Exception) -> Response:
    _log.info("the client left: %s", type(error).__name__)
    return Response(status_code=499)


async def _render_bug(_: Request, error: Exception) -> Response:
    _log.error("unexpected", exc_info=error)
    return _problem(Bug(f"{type(error).__name__}: {error}"))
