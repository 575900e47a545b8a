"""/storages and their branches: where data lives."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from neon_compose.api.deps import PLANNED, DryRun, Name, ServerTiming, SiteOf, checked_name, done, planned
from neon_compose.api.problems import responses
from neon_compose.api.streams import NDJSON
from neon_compose.api.upload import UploadResponse
from neon_compose.controller import branches, diffs, marks, restores, storages, undeletes
from neon_compose.controller.contents import Upload
from neon_compose.controller.steps import Plan
from neon_compose.model.states import StorageType
from neon_compose.wire.chronicle import MINUTES, MOST_MINUTES, BranchLog
from neon_compose.wire.pageserver import ImportFormat
from neon_compose.wire.rest import (
    BranchAction,
    BranchIn,
    BranchOut,
    BranchVerb,
    DeletedBranchOut,
    Flag,
    HistorySizeText,
    HistoryText,
    PlanOut,
    RestoredOut,
    StorageAction,
    StorageIn,
    StorageOut,
    StorageVerb,
)

router = APIRouter(tags=["storages"])

_BINARY = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get("/storages", responses=responses())
def list_storages(site: SiteOf) -> list[StorageOut]:
    return storages.list_all(site)


@router.put(
    "/storages",
    responses={**responses(400, 404, 409, 413, 422), 201: {"model": StorageOut}},
    response_model=StorageOut | PlanOut,
)
def attach_storage(site: SiteOf, body: StorageIn, response: Response, dry_run: DryRun = False) -> Any:
    """Attach: 201 if it is new, 200 if it is as asked. With `import` the answer is NDJSON, and a client
    that goes away ends the import, which leaves nothing."""
    checked_name(body.name, "storage")
    if body.import_ is not None and not dry_run:
        return UploadResponse(lambda emit, _: _attached(storages.attach(site, body, emit)))
    found = storages.attach(site, body, dry_run=dry_run)
    if isinstance(found, Plan):
        return planned(found)
    out, new = found
    response.status_code = 201 if new else 200
    return out


@router.get("/storages/{storage}", responses=responses(404, 422))
def show_storage(site: SiteOf, storage: Name) -> StorageOut:
    return storages.show(site, checked_name(storage, "storage"))


@router.delete(
    "/storages/{storage}",
    status_code=204,
    response_model=None,
    responses={**responses(404, 409, 422), **PLANNED},
)
def detach_storage(site: SiteOf, storage: Name, purge: Flag = False, dry_run: DryRun = False) -> Response:
    """Detach; the data stays unless `purge`."""
    plan = storages.detach(site, checked_name(storage, "storage"), purge=purge, dry_run=dry_run)
    return done(plan, dry_run=dry_run)


@router.put(
    "/storages/{storage}/import",
    status_code=200,
    responses={**responses(404, 409, 422), **NDJSON},
    response_class=UploadResponse,
    openapi_extra={"requestBody": _BINARY},
)
async def import_storage(
    site: SiteOf,
    storage: Name,
    fmt: Annotated[ImportFormat, Query(alias="format")] = "auto",
    kind: Annotated[StorageType, Query(alias="type")] = StorageType.NATIVE,
    path: str | None = None,
    history: HistoryText | None = None,
    history_size: HistorySizeText | None = None,
    refresh: Flag = False,
) -> UploadResponse:
    """Attach a new storage with the dump that is this request's body, of any size. NDJSON back.

    With `refresh` the storage must be there, and the dump becomes the content of its `main`. A failure, or a
    client that goes away, removes what this request made.
    """
    request = StorageIn(
        name=checked_name(storage, "storage"),
        type=kind,
        path=path,
        history=history,
        history_size=history_size,
    )
    if refresh:
        action = StorageAction(action=StorageVerb.REFRESH)
        return UploadResponse(
            lambda emit, chunks: _refreshed(
                storages.refresh(site, request.name, action, emit, Upload(fmt, chunks))
            )
        )
    return UploadResponse(
        lambda emit, chunks: _attached(storages.attach(site, request, emit, Upload(fmt, chunks)))
    )


@router.post(
    "/storages/{storage}/actions",
    responses={**responses(400, 404, 409, 413, 422), **NDJSON},
    response_model=PlanOut,
)
def act_on_storage(site: SiteOf, storage: Name, body: StorageAction, dry_run: DryRun = False) -> Any:
    """Refresh: `main` gets a newer copy of its source, what it was stays as a snapshot. NDJSON back; a client
    that goes away ends it, and leaves all as it was."""
    name = checked_name(storage, "storage")
    if dry_run:
        plan = storages.refresh(site, name, body, dry_run=True)
        assert isinstance(plan, Plan)
        return planned(plan)
    return UploadResponse(lambda emit, _: _refreshed(storages.refresh(site, name, body, emit)))


def _refreshed(found: StorageOut | Plan) -> StorageOut:
    assert not isinstance(found, Plan)
    return found


def _attached(found: tuple[StorageOut, bool] | Plan) -> StorageOut:
    assert not isinstance(found, Plan)
    return found[0]


# ---- branches


@router.get("/storages/{storage}/branches", responses=responses(404, 422))
def list_branches(site: SiteOf, storage: Name) -> list[BranchOut]:
    return branches.list_of(site, checked_name(storage, "storage"))


@router.get("/storages/{storage}/deleted-branches", responses=responses(404, 422))
def list_deleted_branches(site: SiteOf, storage: Name) -> list[DeletedBranchOut]:
    """Those that can be undeleted, the last deleted first."""
    return undeletes.list_of(site, checked_name(storage, "storage"))


@router.get("/storages/{storage}/branches/{branch}", responses=responses(404, 422))
def show_branch(site: SiteOf, storage: Name, branch: Name) -> BranchOut:
    return branches.show(site, checked_name(storage, "storage"), checked_name(branch, "branch"))


@router.get("/storages/{storage}/branches/{branch}/log", responses=responses(404, 422))
def log_of_branch(
    site: SiteOf,
    storage: Name,
    branch: Name,
    limit: Annotated[int, Query(ge=1, le=MOST_MINUTES, description="how many minutes, the newest")] = MINUTES,
) -> BranchLog:
    """Commits per minute, with the moments to start a branch from. Of the branch's own WAL on safekeepers,
    none of its ancestors'; minutes without commits are left out."""
    return branches.log(site, checked_name(storage, "storage"), checked_name(branch, "branch"), limit)


@router.put(
    "/storages/{storage}/branches/{branch}",
    responses={**responses(400, 404, 409, 413, 422), 201: {"model": BranchOut}},
    response_model=BranchOut | PlanOut,
)
def put_branch(
    site: SiteOf, storage: Name, branch: Name, body: BranchIn, response: Response, dry_run: DryRun = False
) -> Any:
    """Make a branch: 201 if it is new, 200 if it is as asked."""
    storage, branch = checked_name(storage, "storage"), checked_name(branch, "branch")
    found = branches.put(site, storage, branch, body.from_, body.ttl, dry_run=dry_run)
    if isinstance(found, Plan):
        return planned(found)
    out, new = found
    response.status_code = 201 if new else 200
    return out


@router.delete(
    "/storages/{storage}/branches/{branch}",
    status_code=204,
    response_model=None,
    responses={**responses(404, 409, 422), **PLANNED},
)
def delete_branch(
    site: SiteOf,
    storage: Name,
    branch: Name,
    cascade: Flag = False,
    now: Flag = False,
    dry_run: DryRun = False,
) -> Response:
    """It can be undeleted for 24 hours, unless it goes `now`; that takes a deleted branch too. With `cascade`
    its snapshots and the branches made from it go too, unless one of them has a pg."""
    storage, branch = checked_name(storage, "storage"), checked_name(branch, "branch")
    plan = branches.delete(site, storage, branch, cascade=cascade, forever=now, dry_run=dry_run)
    return done(plan, dry_run=dry_run)


@router.post(
    "/storages/{storage}/branches/{branch}/actions",
    responses={**responses(400, 404, 409, 413, 422), **NDJSON},
    response_model=RestoredOut | BranchOut | PlanOut,
)
def act_on_branch(
    site: SiteOf, storage: Name, branch: Name, body: BranchAction, response: Response, dry_run: DryRun = False
) -> Any:
    """Restore to a moment, or reset to the parent's end. A running pg of the branch restarts and keeps its
    URL; what the branch was stays, as another. Or protect it, unprotect it, have it expire, or take back the
    last deleted branch of the name. Or say what differs from it in another moment, as NDJSON."""
    storage, branch = checked_name(storage, "storage"), checked_name(branch, "branch")
    diffs.refuse_words_of_diff(body)
    marks.refuse_loss(body)
    if body.action is BranchVerb.DIFF:
        diffs.read(body)
        if dry_run:
            return planned(Plan())
        return UploadResponse(lambda emit, _: diffs.of_branch(site, storage, branch, body, emit))
    if body.action is BranchVerb.UNDELETE:
        back = undeletes.act(site, storage, branch, body, dry_run=dry_run)
        return planned(back) if isinstance(back, Plan) else back
    if body.action not in (BranchVerb.RESTORE, BranchVerb.RESET):
        marked = branches.mark(site, storage, branch, body, dry_run=dry_run)
        return planned(marked) if isinstance(marked, Plan) else marked
    if body.keep is not None:
        checked_name(body.keep, "branch")
    timing = ServerTiming()
    found = restores.act(site, storage, branch, body, timing.note, dry_run=dry_run)
    response.headers["Server-Timing"] = timing.header
    return planned(found) if isinstance(found, Plan) else found
