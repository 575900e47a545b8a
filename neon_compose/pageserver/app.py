"""HTTP of the pageserver: parse, call one function, render. Handlers are plain functions in threads.

Every path but /healthz wants the stack's internal token. Errors are problem documents (RFC 9457).
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

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
from neon_compose.objectstore.manifests import MAIN
from neon_compose.pageserver.dump import Format, Spool
from neon_compose.pageserver.jobs import Job, JobResponse, Work
from neon_compose.pageserver.service import Service
from neon_compose.wire import pageserver as wire
from neon_compose.wire.fetching import Fetch, FetchRequest

_log = log.get(__name__)
_THREADS = 256


def make_app(service: Service, token: str, disks: Disks) -> FastAPI:
    app = FastAPI(
        title="neon-compose pageserver", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_lifespan
    )
    app.include_router(_routes(service, disks), prefix="/v1", dependencies=[Depends(_token_check(token))])

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


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Room for many `open` calls: each keeps its thread until its compute is up."""
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    yield


def _routes(service: Service, disks: Disks) -> APIRouter:
    routes = APIRouter()
    _storage_routes(routes, service, disks)
    _branch_routes(routes, service)
    _compute_routes(routes, service)
    return routes


def _storage_routes(routes: APIRouter, service: Service, disks: Disks) -> None:
    def job(work: Work) -> Response:
        return JobResponse(_explained(work, disks))

    @routes.get("/status")
    def status() -> wire.StorageStatus:
        return service.status()

    @routes.get("/leftovers")
    def leftovers() -> list[wire.Leftover]:
        return service.leftovers()

    @routes.get("/credentials")
    def credentials(branch: str = MAIN) -> wire.Credentials:
        return service.credentials(branch)

    @routes.post("/initialise")
    def initialise(_: wire.InitialiseRequest) -> Response:
        return job(service.initialise)

    @routes.put("/import")
    async def import_dump(
        request: Request, format: wire.ImportFormat = "auto", what: wire.ImportAs = wire.ImportAs.NEW
    ) -> Response:
        spool = await run_in_threadpool(service.open_spool, what)
        try:
            await _receive(request, spool)
        except BaseException:
            service.drop_spool(spool)
            raise
        wanted = None if format == "auto" else Format(format)
        return job(lambda running: service.import_spooled(spool, wanted, what, running))

    @routes.post("/fetches", status_code=201)
    def begin_fetch(body: FetchRequest, what: wire.ImportAs = wire.ImportAs.NEW) -> Fetch:
        return service.begin_fetch(body, what)

    @routes.post("/fetches/{fetch_id}/import")
    def import_fetched(fetch_id: str, what: wire.ImportAs = wire.ImportAs.NEW) -> Response:
        return job(lambda running: service.import_fetched(fetch_id, what, running))

    @routes.delete("/fetches/{fetch_id}", status_code=204)
    def drop_fetch(fetch_id: str) -> None:
        service.drop_fetch(fetch_id)

    @routes.post("/settings", status_code=204)
    def check_settings(body: wire.SettingsRequest) -> None:
        service.check_settings(body.settings, body.durability)


def _branch_routes(routes: APIRouter, service: Service) -> None:
    @routes.get("/branches")
    def branches() -> list[wire.Branch]:
        return service.branches()

    @routes.get("/snapshots")
    def snapshots() -> list[wire.Snapshot]:
        return service.snapshots()

    @routes.put("/branches/{name}")
    def create_branch(name: str, body: wire.BranchRequest, response: Response) -> wire.Branch:
        branch, created = service.create_branch(name, body)
        response.status_code = 201 if created else 200
        return branch

    @routes.delete("/branches/{name}", status_code=204)
    def delete_branch(name: str) -> None:
        service.delete_branch(name)


def _compute_routes(routes: APIRouter, service: Service) -> None:
    @routes.get("/computes")
    def computes() -> list[wire.ComputeStatus]:
        return service.computes()

    @routes.get("/computes/{pg}")
    def compute(pg: str) -> wire.ComputeStatus:
        return service.compute(pg)

    @routes.post("/computes/{pg}/prepare")
    def prepare(pg: str, body: wire.PrepareRequest) -> wire.Prepared:
        return service.prepare(pg, body)

    @routes.post("/computes/{pg}/layout")
    def layout(pg: str, body: wire.LayoutRequest) -> wire.LaidOut:
        return service.layout(pg, body)

    @routes.post("/computes/{pg}/open")
    def open_gate(pg: str, body: wire.OpenRequest) -> wire.Opened:
        return service.open(pg, body)

    @routes.delete("/computes/{pg}", status_code=204)
    def delete_compute(pg: str, discard_writes: bool = False) -> None:
        service.delete_compute(pg, discard_writes)


def _explained(work: Work, disks: Disks) -> Work:
    def explained(job: Job) -> dict[str, Any]:
        with disks.explained():
            return work(job)

    return explained


async def _receive(request: Request, spool: Spool) -> None:
    """The body into the spool; a client that leaves raises `ClientDisconnect`."""
    async for chunk in request.stream():
        if chunk:
            await run_in_threadpool(spool.feed, chunk)
    await run_in_threadpool(spool.finish)


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
