"""Figures as Prometheus reads them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families as parsed

Series = tuple[str, frozenset[tuple[str, str]]]


def figures(http: httpx.Client) -> dict[Series, float]:
    """What `GET /metrics` answers now, by `key`."""
    answer = http.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (one.name.removeprefix("neon_compose_"), frozenset(one.labels.items())): one.value
        for family in parsed(answer.text)
        for one in family.samples
    }


def key(name: str, **labels: str) -> Series:
    """The figure of this name (without our prefix) and these labels."""
    return name, frozenset(labels.items())
