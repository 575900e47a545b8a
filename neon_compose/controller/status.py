"""What runs and whether it is well: for GET /status and /components."""

from __future__ import annotations

from neon_compose import __version__
from neon_compose.controller import minio, pgs, render, storages
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.site import Site
from neon_compose.engine.runtime import Container
from neon_compose.errors import NotFound
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.states import Component
from neon_compose.wire.rest import ComponentOut, StatusOut

_ASKED = (Component.PAGESERVER, Component.SAFEKEEPER, Component.MINIO)


def components(site: Site, snap: Snapshot | None = None) -> list[ComponentOut]:
    """All containers of the stack; those that serve are asked how they are, beside each other."""
    snap = snap or site.snapshot()
    ours = [one for one in snap.world.containers if one.component is not None]
    asked = [one for one in ours if one.component in _ASKED]
    answers = site.workers.map(lambda one: _healthy(site, snap, one), asked)
    health = {one.name: answer for one, answer in zip(asked, answers, strict=True)}
    return [render.component_out(snap, one, health) for one in sorted(ours, key=lambda one: one.name)]


def component(site: Site, name: str) -> ComponentOut:
    found = {one.name: one for one in components(site)}
    if name not in found:
        raise NotFound(
            f'component "{name}" does not exist', hint=did_you_mean(name, found), code="no_such_component"
        )
    return found[name]


def _healthy(site: Site, snap: Snapshot, container: Container) -> bool:
    address = snap.address(container)
    if address is None:
        return False
    if container.component is Component.MINIO:
        return minio.healthy(address)
    if container.component is Component.SAFEKEEPER:
        return site.safekeepers.at(address).healthy()
    return site.pageservers.at(address).healthy()


def status(site: Site) -> StatusOut:
    snap = site.snapshot()
    return StatusOut(
        stack=site.stack,
        version=__version__,
        busy=site.phase,
        problems=site.problems,
        components=components(site, snap),
        storages=storages.list_all(site, snap),
        pgs=pgs.list_all(site, snap),
    )
