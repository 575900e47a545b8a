"""The API against its own OpenAPI document, with requests by schemathesis that fit it and that don't.

Every answer is a documented one (status, content type, headers, body), none is a 5xx, what the document
forbids is refused, and a request without a token never gets in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from neon_compose.api.app import create_app
from neon_compose.controller import pods
from neon_compose.controller.site import Site
from tests import scale
from tests.serving import served
from tests.site import made

Operation = Any  # schemathesis's own types are generic over the specification
# What a document can't say: whether a source, a setting, a port, a moment or a stack file makes sense here.
SEMANTIC = {"PUT /storages", "PUT /storages/{storage}/import", "PUT /pgs", "PUT /stack"} | {
    "POST /pgs/{pg}/actions",
    "POST /storages/{storage}/actions",
    "PUT /storages/{storage}/branches/{branch}",
    "POST /storages/{storage}/branches/{branch}/actions",
    "PUT /snapshots/{storage}/{snapshot}",
    "GET /events",
}


def document() -> dict[str, Any]:
    with made() as fixture:
        return create_app(fixture.site, owns_stack=False).openapi()


def operations() -> list[tuple[Operation, GenerationMode]]:
    """Each operation with what fits it and, where it takes anything at all, with what doesn't."""
    schema = schemathesis.openapi.from_dict(document())
    found = [one.ok() for one in schema.get_all_operations()]
    takes = [one for one in found if list(one.iter_parameters()) or one.body]
    return [(one, GenerationMode.POSITIVE) for one in found] + [
        (one, GenerationMode.NEGATIVE) for one in takes
    ]


@dataclass(frozen=True)
class Live:
    url: str
    token: dict[str, str]
    site: Site


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """A controller of its own over fakes with a storage "shop": every request of every test goes to it."""
    with made() as fixture, served(create_app(fixture.site, owns_stack=False)) as url:
        token = {"Authorization": f"Bearer {fixture.site.secrets.token}"}
        with httpx.Client(base_url=url, headers=token, trust_env=False, verify=False) as http:
            assert http.put("/storages", json={"name": "shop", "type": "native"}).status_code == 201
        pods.top_up(fixture.site)
        fixture.site.events.close()  # else an answer that follows the events would have no end
        yield Live(url, token, fixture.site)


def without_minio(case: Any) -> Any:
    """No fake answers as MinIO, and `up` would wait for it."""
    if isinstance(case.body, dict) and isinstance(case.body.get("config"), dict):
        case.body["config"]["minio"] = False
    return case


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("operation", "mode"), operations(), ids=lambda one: getattr(one, "label", getattr(one, "value", None))
)
def test_every_answer_is_as_documented(operation: Operation, mode: GenerationMode, live: Live) -> None:
    beyond = [positive_data_acceptance] if operation.label in SEMANTIC else []

    @seed(scale.seed())
    @settings(
        max_examples=scale.amount(25, 2000),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode).map(without_minio))
    def run(case: Any) -> None:
        live.site.phase = None  # whatever stopped the stack before
        answer = case.call(base_url=live.url, headers=live.token, timeout=30)
        case.validate_response(answer, excluded_checks=beyond)

    run()
