"""The labels by which everything of a stack is found; names are never parsed.

`stack`, `component` and `version` are on everything, the others where they apply.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from neon_compose import __version__
from neon_compose.model.states import Component

PREFIX = "dev.neon-compose."

STACK = PREFIX + "stack"
COMPONENT = PREFIX + "component"
STORAGE = PREFIX + "storage"
SAFEKEEPER = PREFIX + "safekeeper"  # its number, from 1
PG = PREFIX + "pg"
POD = PREFIX + "pod"  # on pods: their number; on computes: the number of the pod they are in
PORTS = PREFIX + "ports"  # on pods: "15432-15447"; on computes: their port
ENDPOINT = PREFIX + "endpoint"  # on computes: their pod's endpoint id; another one now means a restarted pod
DURABILITY = PREFIX + "durability"  # on computes: what they were started with
GIVEN = PREFIX + "given"  # on computes: hash of port, settings and durability; another one needs a restart
SPEC = PREFIX + "spec"  # hash of the spec; another one means the container is outdated
REMOVING = PREFIX + "removing"  # on one volume: the stack is being removed with its data
VERSION = PREFIX + "version"


def component_labels(stack: str, component: Component, **more: str) -> dict[str, str]:
    """The labels of a container; `more` by short name: storage, safekeeper, pg, pod, ports, …"""
    labels = {STACK: stack, COMPONENT: component.value, VERSION: __version__}
    return labels | {PREFIX + key: value for key, value in more.items()}


def resource_labels(stack: str, **more: str) -> dict[str, str]:
    """The labels of a volume or network."""
    return {STACK: stack, VERSION: __version__} | {PREFIX + key: value for key, value in more.items()}


def spec_hash(spec: object) -> str:
    """12 hex characters that change when a spec does; the version and spec labels themselves don't count."""
    fields = asdict(spec) if is_dataclass(spec) and not isinstance(spec, type) else spec
    text = json.dumps(_plain(fields), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items() if k not in (SPEC, VERSION, ENDPOINT)}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
