"""HTTP of a safekeeper (wire/safekeeper.py): parse, call one function, render."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from neon_compose.disks import Disks
from neon_compose.errors import Bug, Invalid, TooLarge
from neon_compose.model.lsn import Lsn
from neon_compose.safekeeper.record import Source
from neon_compose.safekeeper.service import Service, branch_status
from neon_compose.terms.history import History
from neon_compose.terms.members import Answer
from neon_compose.wire import safekeeper as wire
from neon_compose.wire.serving import internal_app


def make_app(service: Service, token: str, disks: Disks) -> FastAPI:
    routes = APIRouter()
    _branch_routes(routes, service)
    _protocol_routes(routes, service)
    return internal_app("neon-compose safekeeper", routes, token, disks)


def _branch_routes(routes: APIRouter, service: Service) -> None:
    @routes.get("/status")
    def status() -> wire.SafekeeperStatus:
        return service.status()

    @routes.get("/branches/{branch}")
    def branch(branch: UUID) -> wire.BranchStatus:
        return branch_status(service.find(branch))

    @routes.put("/branches/{branch}")
    async def enrol(
        branch: UUID, query: Annotated[wire.EnrolQuery, Query()], request: Request
    ) -> wire.BranchStatus:
        _check_history(query)
        before = await _body(request, query.segment_size)
        return await run_in_threadpool(lambda: branch_status(service.enrol(branch, query, before)))

    @routes.delete("/branches/{branch}", status_code=204)
    def delete(branch: UUID) -> None:
        service.delete(branch)

    @routes.get("/branches/{branch}/wal")
    def wal(branch: UUID, start: str, end: str) -> StreamingResponse:
        first, last = Lsn.parse(start), Lsn.parse(end)
        pieces = service.find(branch).read(first, last)
        size = str(last.value - first.value)
        return StreamingResponse(
            pieces, media_type="application/octet-stream", headers={"Content-Length": size}
        )


def _protocol_routes(routes: APIRouter, service: Service) -> None:
    @routes.post("/branches/{branch}/promise")
    def promise(branch: UUID, body: wire.PromiseRequest) -> wire.AnswerOut:
        return _answer(service.find(branch).promise(body.term))

    @routes.post("/branches/{branch}/adopt")
    def adopt(branch: UUID, body: wire.AdoptRequest) -> wire.BranchStatus:
        keeper = service.find(branch)
        keeper.adopt(_history(body), body.peers)
        return branch_status(keeper)

    @routes.post("/branches/{branch}/expect", status_code=204)
    def expect(branch: UUID, body: wire.ReceiverRequest) -> None:
        service.find(branch).expect(_source(body), body.password.get_secret_value())

    @routes.put("/branches/{branch}/receiver")
    def receive(branch: UUID, body: wire.ReceiverRequest) -> wire.BranchStatus:
        keeper = service.find(branch)
        keeper.receive(_source(body), body.password.get_secret_value())
        return branch_status(keeper)

    @routes.delete("/branches/{branch}/receiver", status_code=204)
    def stop_receiving(branch: UUID) -> None:
        service.find(branch).stop_receiving()

    @routes.post("/branches/{branch}/commit", status_code=204)
    def commit(branch: UUID, body: wire.CommitRequest) -> None:
        service.find(branch).commit(body.term, Lsn.parse(body.lsn))

    @routes.post("/branches/{branch}/trim")
    def trim(branch: UUID, body: wire.TrimRequest) -> wire.BranchStatus:
        keeper = service.find(branch)
        keeper.trim(Lsn.parse(body.needed))
        return branch_status(keeper)


async def _body(request: Request, most: int) -> bytes:
    """The body, a part of one segment at most."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise TooLarge(f"the WAL of a segment has {most} bytes at most")
    return bytes(found)


def _source(body: wire.ReceiverRequest) -> Source:
    return Source(body.term, body.host, body.port, body.user)


def _check_history(query: wire.EnrolQuery) -> None:
    found = _ordered(query.starts())
    if found.up_to(Lsn.parse(query.oldest)) != found:
        raise Invalid("the history goes on after where WAL is to begin")


def _ordered(starts: list[wire.TermStartIn]) -> History:
    try:
        return wire.history_of(starts)
    except Bug as error:
        raise Invalid("the history is none", detail=error.message) from error


def _history(body: wire.AdoptRequest) -> History:
    found = _ordered(body.history)
    if not found.last.term:
        raise Invalid("a history without a term can't be adopted")
    return found


def _answer(answer: Answer) -> wire.AnswerOut:
    return wire.AnswerOut(
        identity=str(answer.identity),
        term=answer.term,
        history=wire.starts_of(answer.log.history),
        end=str(answer.log.end),
        oldest=str(answer.oldest),
        counts=answer.counts,
    )
