"""/pgs: computes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from neon_compose.api.deps import PLANNED, DryRun, Name, ServerTiming, SiteOf, checked_name, done, planned
from neon_compose.api.problems import responses
from neon_compose.controller import checkouts, pgs
from neon_compose.controller.pgrules import check_available
from neon_compose.controller.steps import Plan
from neon_compose.wire.rest import Flag, PgAction, PgIn, PgOut, PgUrl, PlanOut

router = APIRouter(tags=["pgs"])


@router.get("/pgs", responses=responses())
def list_pgs(site: SiteOf) -> list[PgOut]:
    return pgs.list_all(site)


@router.put(
    "/pgs",
    responses={**responses(400, 404, 409, 413, 422), 201: {"model": PgOut}},
    response_model=PgOut | PlanOut,
)
def put_pg(site: SiteOf, body: PgIn, response: Response, dry_run: DryRun = False) -> Any:
    """Create: 201 if it is new, 200 if it is as asked or was changed to it. `from` makes a branch."""
    checked_name(body.name, "pg")
    checked_name(body.storage_name, "storage")
    if body.branch is not None:
        checked_name(body.branch, "branch")
    timing = ServerTiming()
    found = pgs.put(site, body, timing.note, dry_run=dry_run)
    if isinstance(found, Plan):
        return planned(found)
    out, new = found
    response.status_code = 201 if new else 200
    response.headers["Server-Timing"] = timing.header
    return out


@router.get("/pgs/{pg}", responses=responses(404, 422))
def show_pg(site: SiteOf, pg: Name) -> PgOut:
    return pgs.show(site, checked_name(pg, "pg"))


@router.get("/pgs/{pg}/url", responses=responses(404, 422))
def show_url(site: SiteOf, pg: Name) -> PgUrl:
    """How to connect, with the password."""
    return pgs.url(site, checked_name(pg, "pg"))


@router.delete(
    "/pgs/{pg}", status_code=204, response_model=None, responses={**responses(404, 409, 422), **PLANNED}
)
def destroy_pg(site: SiteOf, pg: Name, discard_writes: Flag = False, dry_run: DryRun = False) -> Response:
    """Destroy: its compute and data go, the branch stays."""
    plan = pgs.destroy(site, checked_name(pg, "pg"), discard_writes=discard_writes, dry_run=dry_run)
    return done(plan, dry_run=dry_run)


@router.post(
    "/pgs/{pg}/actions", responses=responses(400, 404, 409, 413, 422), response_model=PgOut | PlanOut
)
def act_on_pg(site: SiteOf, pg: Name, body: PgAction, response: Response, dry_run: DryRun = False) -> Any:
    """Start, stop or restart, go to another branch, discard what is a cache; repeat is success."""
    timing = ServerTiming()
    checked_name(pg, "pg")
    if body.branch is not None:
        check_available(body)
        if body.branch != checkouts.BEFORE:
            checked_name(body.branch, "branch")
        found = checkouts.checkout(site, pg, body.branch, timing.note, dry_run=dry_run)
    else:
        found = pgs.act(site, pg, body, timing.note, dry_run=dry_run)
    response.headers["Server-Timing"] = timing.header
    return planned(found) if isinstance(found, Plan) else found
