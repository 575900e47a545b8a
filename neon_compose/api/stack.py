"""/stack, /status, /components, /leftovers, /healthz: the stack as a whole."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from neon_compose.api import streams
from neon_compose.api.deps import ContainerName, DryRun, SiteOf, planned
from neon_compose.api.problems import responses
from neon_compose.controller import diagnose, leftovers, stack, status
from neon_compose.wire.rest import ComponentOut, FindingsOut, LeftoverOut, PlanOut, StackIn, StatusOut

router = APIRouter(tags=["stack"])

_NDJSON: dict[int | str, dict[str, Any]] = {
    200: {"content": {streams.MEDIA_TYPE: {}}, "description": "steps, then `result` or `problem`"}
}


@router.get("/healthz")
def healthz() -> dict[str, bool]:
    """Whether the controller answers; needs no token."""
    return {"ok": True}


@router.get("/status", responses=responses())
def show_status(site: SiteOf) -> StatusOut:
    return status.status(site)


@router.get("/findings", responses=responses())
def list_findings(site: SiteOf) -> FindingsOut:
    """What is wrong or worth to know, in words, with what to do about it: what `doctor` prints."""
    return diagnose.findings(site)


@router.get("/components", responses=responses())
def list_components(site: SiteOf) -> list[ComponentOut]:
    return status.components(site)


@router.get("/components/{component}", responses=responses(404))
def show_component(site: SiteOf, component: ContainerName) -> ComponentOut:
    return status.component(site, component)


@router.get("/leftovers", responses=responses())
def list_leftovers(site: SiteOf) -> list[LeftoverOut]:
    """What is there and shouldn't be; what running requests work on is left out."""
    return leftovers.find(site)


@router.put("/stack", responses={**responses(400, 409, 413, 422), **_NDJSON}, response_model=PlanOut)
def put_stack(site: SiteOf, body: StackIn, dry_run: DryRun = False) -> Any:
    """Bring the stack to a stack file; repeat is success. NDJSON."""
    if dry_run:
        return planned(stack.dry_run(site, body))
    return streams.ndjson(lambda emit: stack.apply(site, body, emit))


@router.post("/stack/stop", responses={**responses(409), **_NDJSON}, response_model=PlanOut)
def stop_stack(site: SiteOf, dry_run: DryRun = False) -> Any:
    """Stop everything but the controller, in order. NDJSON."""
    if dry_run:
        return planned(stack.stop_plan(site))
    return streams.ndjson(lambda emit: stack.stop(site, emit))
