"""HTTP of the pageserver: parse, call one function, render (wire/serving.py has the rest)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from neon_compose.disks import Disks
from neon_compose.objectstore.manifests import MAIN
from neon_compose.pageserver.dump import Format, Spool
from neon_compose.pageserver.jobs import Job, JobResponse, Work
from neon_compose.pageserver.service import Service
from neon_compose.wire import pageserver as wire
from neon_compose.wire.chronicle import MINUTES, MOST_MINUTES, BranchLog
from neon_compose.wire.diff import DiffRequest
from neon_compose.wire.fetching import Fetch, FetchRequest
from neon_compose.wire.serving import internal_app


def make_app(service: Service, token: str, disks: Disks) -> FastAPI:
    routes = _routes(service, disks)
    return internal_app("neon-compose pageserver", routes, token, disks, service.start, service.stop)


def _routes(service: Service, disks: Disks) -> APIRouter:
    routes = APIRouter()
    _storage_routes(routes, service, disks)
    _branch_routes(routes, service, disks)
    _snapshot_routes(routes, service)
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


def _branch_routes(routes: APIRouter, service: Service, disks: Disks) -> None:
    @routes.get("/branches")
    def branches() -> list[wire.Branch]:
        return service.branches()

    @routes.get("/branch-ids")
    def branch_ids() -> list[str]:
        return service.branch_ids()

    @routes.get("/sizes")
    def sizes() -> list[wire.BranchSize]:
        return service.sizes()

    @routes.put("/branches/{name}")
    def create_branch(name: str, body: wire.BranchRequest, response: Response) -> wire.Branch:
        branch, created = service.create_branch(name, body)
        response.status_code = 201 if created else 200
        return branch

    @routes.post("/branches/{name}/restore")
    def restore_branch(name: str, body: wire.RestoreRequest) -> wire.Restored:
        return service.restore_branch(name, body)

    @routes.post("/branches/{name}/mark")
    def mark_branch(name: str, body: wire.MarkRequest) -> wire.Branch:
        return service.mark_branch(name, body)

    @routes.delete("/branches/{name}", status_code=204)
    def delete_branch(name: str, now: bool = False) -> None:
        service.delete_branch(name, now=now)

    @routes.get("/deleted-branches")
    def deleted_branches() -> list[wire.DeletedBranch]:
        return service.deleted_branches()

    @routes.delete("/deleted-branches/{name}", status_code=204)
    def end_deleted(name: str) -> None:
        service.end_deleted(name)

    @routes.post("/deleted-branches/{name}/undelete")
    def undelete_branch(name: str, body: wire.UndeleteRequest) -> wire.Branch:
        return service.undelete_branch(name, body)

    @routes.get("/branches/{name}/log")
    def log(name: str, limit: Annotated[int, Query(ge=1, le=MOST_MINUTES)] = MINUTES) -> BranchLog:
        return service.log(name, limit)

    @routes.post("/branches/{name}/redo")
    def redo(name: str) -> Response:
        return JobResponse(_explained(lambda job: service.redo(name, job), disks))

    @routes.post("/diff")
    def diff(body: DiffRequest) -> Response:
        return JobResponse(_explained(lambda job: service.diff(body, job), disks))


def _snapshot_routes(routes: APIRouter, service: Service) -> None:
    @routes.get("/snapshots")
    def snapshots() -> list[wire.Snapshot]:
        return service.snapshots()

    @routes.get("/snapshots/{name}")
    def snapshot(name: str) -> wire.Snapshot:
        return service.snapshot(name)

    @routes.put("/snapshots/{name}")
    def create_snapshot(name: str, body: wire.SnapshotRequest, response: Response) -> wire.Snapshot:
        found, created = service.create_snapshot(name, body)
        response.status_code = 201 if created else 200
        return found

    @routes.delete("/snapshots/{name}", status_code=204)
    def delete_snapshot(name: str) -> None:
        service.delete_snapshot(name)


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
    def delete_compute(pg: str, discard_writes: bool = False, cache: bool = False) -> None:
        if cache:
            service.discard_cache(pg)
        else:
            service.delete_compute(pg, discard_writes)


def _explained(work: Work, disks: Disks) -> Work:
    def explained(job: Job) -> dict[str, Any]:
        with disks.explained():
            return work(job)

    return explained


async def _receive(request: Request, spool: Spool) -> None:
    """The body into the spool; a client that leaves raises starlette's `ClientDisconnect`."""
    async for chunk in request.stream():
        if chunk:
            await run_in_threadpool(spool.feed, chunk)
    await run_in_threadpool(spool.finish)
