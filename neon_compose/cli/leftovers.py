"""`neon-compose doctor --leftovers`: what is on the engine and in the stack and shouldn't be.

Of the chosen stack its controller tells all; of stacks that have none, labels tell what there is. The data
of a stack that is down is listed too, since nothing else says that it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from neon_compose.cli import render
from neon_compose.cli.args import Output
from neon_compose.cli.lookup import controller_of
from neon_compose.cli.session import Session, give, say
from neon_compose.engine import labels
from neon_compose.engine.runtime import Container, Network, Volume, World

Row = dict[str, object]
_COLUMNS: render.Columns = {name.upper(): name for name in ("stack", "kind", "name", "why")}


def list_leftovers(session: Session, output: Output) -> None:
    """One row per thing; nothing but the heads when all is as it should be."""
    rows = list(leftovers(session))
    give(render.as_json(rows) if output is Output.JSON else render.as_table(rows, _COLUMNS))


def leftovers(session: Session) -> Iterator[Row]:
    world = session.engine.observe(None)
    stacks = {stack for one in _things(world) if (stack := one.labels.get(labels.STACK))}
    for stack in sorted(stacks):
        controller = controller_of(_only(world, stack))
        if controller is None:
            yield from _without_controller(_only(world, stack), stack)
        elif stack == session.stack and controller.running:
            yield from ({"stack": stack, **row} for row in session.client.get("/leftovers"))
        elif stack == session.stack:
            say(f"the controller is {controller.state}: neon-compose up -d, and it will look")


def _without_controller(world: World, stack: str) -> Iterator[Row]:
    why = "its stack has no controller: a down was cut off"
    for container in world.containers:
        yield {"stack": stack, "kind": "container", "name": container.name, "why": why}
    for network in world.networks:
        yield {"stack": stack, "kind": "network", "name": network.name, "why": why}
    for volume in world.volumes:
        down = "data of a stack that is down: down -v deletes it"
        yield {"stack": stack, "kind": "volume", "name": volume.name, "why": down}


def _things(world: World) -> tuple[Container | Network | Volume, ...]:
    return (*world.containers, *world.networks, *world.volumes)


def _only(world: World, stack: str) -> World:
    return World(
        tuple(one for one in world.containers if one.stack == stack),
        tuple(one for one in world.networks if one.labels.get(labels.STACK) == stack),
        tuple(one for one in world.volumes if one.labels.get(labels.STACK) == stack),
    )
