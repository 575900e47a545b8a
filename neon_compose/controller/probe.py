"""Short containers that look at the engine's machine for us: created, run, read, removed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from neon_compose.engine.labels import resource_labels
from neon_compose.engine.runtime import ContainerSpec, Engine, Kind
from neon_compose.errors import NeonError, Unavailable

log = logging.getLogger(__name__)

_RUN_S = 120.0
_TRIES = 2


@contextmanager
def created_probe(engine: Engine, stack: str, spec: ContainerSpec) -> Iterator[str]:
    """The name of a container made from `spec`, not started; its name and labels are set here.

    `NotFound` (code "path_missing") if a mounted path isn't there. Gone at the end: one that can't be
    removed is left to `sweep`, rather than to fail what it has found out.
    """
    name = f"{stack}_probe_{os.urandom(4).hex()}"
    try:
        engine.create(replace(spec, name=name, labels=resource_labels(stack)))
        yield name
    finally:
        _remove(engine, name)


def run_probe(engine: Engine, stack: str, spec: ContainerSpec) -> list[str]:
    """The output of `spec`'s command. `Unavailable` if it fails; `NotFound` as `created_probe`."""
    with created_probe(engine, stack, spec) as name:
        engine.start(name)
        code = engine.wait(name, _RUN_S)
        lines = engine.logs(name, tail=100_000)
    if code != 0:
        raise Unavailable(
            f"a probe of the engine's machine failed with exit code {code}",
            detail="\n".join(lines[-20:]),
            code="probe_failed",
        )
    return lines


def sweep(engine: Engine, stack: str) -> None:
    """Remove probes that a controller left when it died: containers of the stack that are no component."""
    for container in engine.observe(stack, (Kind.CONTAINER,)).containers:
        if container.component is None:
            _remove(engine, container.name)


def _remove(engine: Engine, name: str) -> None:
    for _ in range(_TRIES):
        try:
            engine.remove(Kind.CONTAINER, name)
            return
        except NeonError as error:
            log.warning("probe %s could not be removed: %s (%s)", name, error.message, error.detail)
