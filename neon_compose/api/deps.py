"""What routes share: the site, names in paths, and the `dry_run` flag."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import Invalid
from neon_compose.model.names import parse_name
from neon_compose.model.nearest import did_you_mean
from neon_compose.wait import monotonic_s
from neon_compose.wire.ndjson import Step as Event
from neon_compose.wire.rest import NAME_SCHEMA, Flag, PlannedStep, PlanOut


def site_of(request: Request) -> Site:
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


ROUTE = "route"  # in a request's state

SiteOf = Annotated[Site, Depends(site_of)]
Name = Annotated[str, Path(max_length=200, json_schema_extra=NAME_SCHEMA)]
ContainerName = Annotated[str, Path(max_length=200)]
PLANNED: dict[int | str, dict[str, Any]] = {
    200: {"model": PlanOut, "description": "what would be done (`dry_run`)"}
}
DryRun = Annotated[Flag, Query(description="only say what would be done")]


def checked_name(text: str, what: str) -> str:
    """`text` if it is a name; raises `Invalid`."""
    return parse_name(text, what)


def known_query(request: Request) -> None:
    """`Invalid` for a query parameter the route does not have: `?dryrun=1` must not do the real thing.

    Also notes the route, for `metered`.
    """
    route = request.scope.get("route")
    request.scope["state"][ROUTE] = getattr(route, "path_format", "")
    dependant = getattr(route, "dependant", None)
    known = {str(param.alias) for param in getattr(dependant, "query_params", ())}
    for name in request.query_params:
        if name not in known:
            raise Invalid(
                f'query parameter "{ascii(name[:60])[1:-1]}" is unknown',
                hint=did_you_mean(name[:60], known),
                code="unknown_parameter",
            )


def planned(plan: Plan) -> PlanOut:
    return PlanOut(plan=[PlannedStep(**row) for row in plan.rows()])


def done(plan: Plan, *, dry_run: bool) -> Response:
    """204 for what was done, 200 with the plan for what would be."""
    return JSONResponse(planned(plan).model_dump(mode="json")) if dry_run else Response(status_code=204)


class ServerTiming:
    """Where a request's time went, step by step, as the header of that name (W3C Server Timing)."""

    def __init__(self) -> None:
        self._begun_s = monotonic_s()
        self._spent: list[str] = []

    def note(self, step: Event) -> None:
        """An `Emit`."""
        if step.ms is not None:
            action = "-".join(word for word in step.name.split() if word.isalpha())
            self._spent.append(f"{action};dur={step.ms}")

    @property
    def header(self) -> str:
        total = f"total;dur={(monotonic_s() - self._begun_s) * 1000:.1f}"
        return ", ".join([*self._spent, total])
