"""What routes share: the site, names in paths, and the `dry_run` flag."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query, Request

from neon_compose.controller.site import Site
from neon_compose.controller.steps import Plan
from neon_compose.errors import Invalid
from neon_compose.model.names import parse_name
from neon_compose.model.nearest import did_you_mean
from neon_compose.wire.rest import Flag, PlannedStep, PlanOut


def site_of(request: Request) -> Site:
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


SiteOf = Annotated[Site, Depends(site_of)]
Name = Annotated[str, Path(max_length=200)]
DryRun = Annotated[Flag, Query(description="only say what would be done")]


def checked_name(text: str, what: str) -> str:
    """`text` if it is a name; raises `Invalid`."""
    return parse_name(text, what)


def known_query(request: Request) -> None:
    """`Invalid` for a query parameter the route does not have: `?dryrun=1` must not do the real thing."""
    route = request.scope.get("route")
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
