"""`neon-compose down`: stop a stack in order and remove its containers and networks; with -v all of it.

Works with the controller dead: then the order is kept here, over the engine. What the volumes hold stays,
but for -v; host folders and remote S3 are never touched.
"""

from __future__ import annotations

import sys

from neon_compose.cli import access, removal
from neon_compose.cli.args import Output
from neon_compose.cli.controller_container import STOP_S
from neon_compose.cli.lookup import controller_of, fetch_access
from neon_compose.cli.plan import changed
from neon_compose.cli.progress import Reporter, reporter, result_of, step
from neon_compose.cli.removal import in_order
from neon_compose.cli.session import Session, say
from neon_compose.engine.runtime import Kind, World
from neon_compose.errors import Conflict, Invalid, NeonError
from neon_compose.model.names import Name
from neon_compose.model.states import Component

_GRACE_S = {Component.COMPUTE: 60.0, Component.PAGESERVER: 60.0, Component.CONTROLLER: float(STOP_S)}
_SHORT_GRACE_S = 10.0


def down(session: Session, *, volumes: bool, sure: bool, dry_run: bool) -> None:
    """Take the stack down. Of an absent one: success."""
    stack = session.stack
    world = session.engine.observe(stack)
    if dry_run:
        changed({"plan": _plan(world, volumes)}, Output.TABLE)
        return
    if volumes and world.volumes and not sure and not removal.begun(world):
        _ask(stack, world)
    with reporter() as show:
        _stop_in_order(session, stack, world, show)
        take_away = removal.remove_with_data if volumes else removal.remove
        take_away(session.engine, stack, show)
    if volumes:
        access.forget(stack)
    if not (world.containers or world.networks or (volumes and world.volumes)):
        say(f'stack "{stack}" is not up: nothing to do')


def stop(session: Session, stack: Name) -> None:
    """Stop everything and remove nothing."""
    with reporter() as show:
        _stop_in_order(session, stack, session.engine.observe(stack, (Kind.CONTAINER,)), show)


def _ask(stack: Name, world: World) -> None:
    """Raises `Invalid` unless a person at a terminal says yes."""
    names = ", ".join(volume.name for volume in world.volumes)
    if not sys.stdin.isatty():
        raise Invalid(
            f'down -v deletes the data of stack "{stack}"',
            detail=f"Volumes: {names}.",
            hint="Without a terminal to ask on, say --yes.",
            code="not_confirmed",
        )
    say(f'This deletes {names}: all branches, snapshots and the token of stack "{stack}".')
    sys.stderr.write("Delete them? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Conflict("nothing was changed", code="not_confirmed")


def _stop_in_order(session: Session, stack: Name, world: World, show: Reporter) -> None:
    """Through the controller if it answers, else in the same order over the engine."""
    controller = controller_of(world)
    if controller is not None and controller.running and _stopped_by_controller(session, stack, show):
        world = session.engine.observe(stack, (Kind.CONTAINER,))
    for container in in_order(world):
        if container.goes_on:
            with step(show, f"stop {container.name}"):
                session.engine.stop(container.name, _GRACE_S.get(container.component, _SHORT_GRACE_S))  # type: ignore[arg-type]


def _stopped_by_controller(session: Session, stack: Name, show: Reporter) -> bool:
    """False when the controller is no help: dead, stuck, or of an older version."""
    try:
        access.write(stack, fetch_access(session.engine, stack))
        result_of(session.client_of(stack).stream("POST", "/stack/stop"), show)
    except NeonError as error:
        say(f"the controller did not stop the stack ({error.message}): stopping it through the engine")
        return False
    return True


def _plan(world: World, volumes: bool) -> list[dict[str, str]]:
    plan = [{"action": "remove", "target": f"container {one.name}", "why": ""} for one in in_order(world)]
    plan += [{"action": "remove", "target": f"network {one.name}", "why": ""} for one in world.networks]
    if volumes:
        plan += [{"action": "delete", "target": f"volume {one.name}", "why": "-v"} for one in world.volumes]
    return plan
