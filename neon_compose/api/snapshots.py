"""/snapshots: names for moments of branches."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from neon_compose.api.deps import PLANNED, DryRun, Name, SiteOf, checked_name, done, planned
from neon_compose.api.problems import responses
from neon_compose.api.streams import NDJSON
from neon_compose.api.upload import UploadResponse
from neon_compose.controller import diffs, snapshots
from neon_compose.controller.steps import Plan
from neon_compose.model.source import parse_source
from neon_compose.wire.rest import PlanOut, SnapshotAction, SnapshotIn, SnapshotOut

router = APIRouter(tags=["snapshots"])


@router.get("/snapshots", responses=responses())
def list_snapshots(site: SiteOf) -> list[SnapshotOut]:
    return snapshots.list_all(site)


@router.get("/snapshots/{storage}/{snapshot}", responses=responses(404, 422))
def show_snapshot(site: SiteOf, storage: Name, snapshot: Name) -> SnapshotOut:
    return snapshots.show(site, checked_name(storage, "storage"), checked_name(snapshot, "snapshot"))


@router.put(
    "/snapshots/{storage}/{snapshot}",
    responses={**responses(400, 404, 409, 413, 422), 201: {"model": SnapshotOut}},
    response_model=SnapshotOut | PlanOut,
)
def put_snapshot(
    site: SiteOf, storage: Name, snapshot: Name, body: SnapshotIn, response: Response, dry_run: DryRun = False
) -> Any:
    """Name a moment: 201 if that is new, 200 if it was named so by the same words before."""
    storage, name = checked_name(storage, "storage"), checked_name(snapshot, "snapshot")
    found = snapshots.put(site, storage, name, body.from_, dry_run=dry_run)
    if isinstance(found, Plan):
        return planned(found)
    out, new = found
    response.status_code = 201 if new else 200
    return out


@router.delete(
    "/snapshots/{storage}/{snapshot}",
    status_code=204,
    response_model=None,
    responses={**responses(404, 409, 422), **PLANNED},
)
def delete_snapshot(site: SiteOf, storage: Name, snapshot: Name, dry_run: DryRun = False) -> Response:
    """Branches made from it stay as they are."""
    storage, name = checked_name(storage, "storage"), checked_name(snapshot, "snapshot")
    return done(snapshots.delete(site, storage, name, dry_run=dry_run), dry_run=dry_run)


@router.post(
    "/snapshots/{storage}/{snapshot}/actions",
    responses={**responses(400, 404, 409, 413, 422), **NDJSON},
    response_model=PlanOut,
)
def act_on_snapshot(
    site: SiteOf, storage: Name, snapshot: Name, body: SnapshotAction, dry_run: DryRun = False
) -> Any:
    """Diff: what was added, removed and changed from the snapshot to another moment of its storage. Nothing
    is changed by it, so there is no plan."""
    storage, name = checked_name(storage, "storage"), checked_name(snapshot, "snapshot")
    parse_source(body.with_)
    if dry_run:
        return planned(Plan())
    return UploadResponse(lambda emit, _: diffs.of_snapshot(site, storage, name, body.with_, emit))
