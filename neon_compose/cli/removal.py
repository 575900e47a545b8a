"""Removing what a stack has on the engine; with its data it is one decision, finished once it is begun.

The data of a stack is in several volumes, and what the state volume says is only true with all the others.
A `down -v` that is cut off between two of them must not leave a stack that wants what is gone. So an empty
volume with a label of its own is made before the first thing goes, and goes last: who finds it finishes
what its user has confirmed, another `down -v` or the next `up`.
"""

from __future__ import annotations

from neon_compose.cli import access
from neon_compose.cli.progress import Reporter, step
from neon_compose.engine import labels
from neon_compose.engine.runtime import Container, Engine, Kind, Volume, VolumeSpec, World
from neon_compose.errors import Unavailable
from neon_compose.model.names import Name
from neon_compose.model.states import Component

_ORDER = (
    Component.COMPUTE,
    Component.PAGESERVER,  # before it ends it archives what safekeepers have
    Component.SAFEKEEPER,
    Component.MINIO,
    Component.POD,
    Component.CONTROLLER,
    None,
)
_BUT_DATA = (Kind.CONTAINER, Kind.NETWORK)
_ALL = (*_BUT_DATA, Kind.VOLUME)


def in_order(world: World) -> list[Container]:
    """The order in which containers end."""
    return sorted(world.containers, key=lambda one: (_ORDER.index(one.component), one.name))


def remove(engine: Engine, stack: Name, show: Reporter) -> None:
    """Containers and networks go. Not while an `up` makes a controller."""
    with access.one_at_a_time(stack), step(show, "remove containers and networks"):
        _remove(engine, stack, _BUT_DATA)


def remove_with_data(engine: Engine, stack: Name, show: Reporter) -> None:
    """Volumes go too. Of an absent stack: success."""
    with access.one_at_a_time(stack), step(show, "remove containers and networks and volumes"):
        if engine.observe(stack, (Kind.VOLUME,)).volumes:
            marks = labels.resource_labels(stack, removing="yes")
            engine.ensure_volume(VolumeSpec(f"{stack}_removing", marks))
        _remove(engine, stack, _ALL)


def begun(world: World) -> bool:
    """Whether it was begun to remove the stack with its data, and not finished."""
    return any(map(_is_note, world.volumes))


def finish(engine: Engine, stack: Name, show: Reporter) -> None:
    """What was begun is finished, so that there is no such stack; nothing if nothing was."""
    with access.one_at_a_time(stack):
        if begun(engine.observe(stack, (Kind.VOLUME,))):
            with step(show, "finish the down -v that was cut off"):
                _remove(engine, stack, _ALL)


def _remove(engine: Engine, stack: Name, kinds: tuple[Kind, ...]) -> None:
    world = engine.observe(stack, kinds)
    for container in in_order(world):
        engine.remove(Kind.CONTAINER, container.name)
    for network in world.networks:
        engine.remove(Kind.NETWORK, network.name)
    for volume in sorted(world.volumes, key=_turn):
        engine.remove(Kind.VOLUME, volume.name)
    left = engine.observe(stack, kinds)
    names = [one.name for one in left.containers] + [one.name for one in left.networks]
    names += [one.name for one in left.volumes]
    if names:
        raise Unavailable(
            f"the engine did not remove {', '.join(names)}", hint="Run down again.", code="left_over"
        )


def _turn(volume: Volume) -> tuple[bool, bool, str]:
    """Data goes before the documents that speak of it, the note goes last."""
    data = labels.STORAGE in volume.labels or labels.SAFEKEEPER in volume.labels
    return _is_note(volume), not data, volume.name


def _is_note(volume: Volume) -> bool:
    return labels.REMOVING in volume.labels
