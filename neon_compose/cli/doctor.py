"""`neon-compose doctor`: look at machine, engine and stack, and say what is wrong and what to do.

Changes nothing and needs nothing to run: every check that can't be made says so.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from neon_compose.cli import access, ports, render
from neon_compose.cli.args import Output
from neon_compose.cli.controller_container import PORT
from neon_compose.cli.lookup import controller_of
from neon_compose.cli.session import Session, give
from neon_compose.cli.up import FIRST_IMAGES, LATER_IMAGE, Images
from neon_compose.engine import labels
from neon_compose.engine.runtime import World
from neon_compose.errors import NeonError

OLDEST_ENGINE = (20, 10)
_ENOUGH_BYTES = 5 << 30
_FAILED_STORAGE = "What is named there must come back from a copy; other storages go on. neon-compose logs"
_DAEMON_FILE = Path("/etc/docker/daemon.json")
_ENGINE_FOLDER = Path("/var/lib/docker")


class Verdict(StrEnum):
    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do about it."""

    what: str
    verdict: Verdict
    found: str
    hint: str = ""


def report(session: Session, output: Output) -> bool:
    """Print all findings; False when something is wrong."""
    findings = list(examine(session, session.outside.images()))
    give(render.as_json([asdict(one) for one in findings]) if output is Output.JSON else _readable(findings))
    return not any(one.verdict is Verdict.WRONG for one in findings)


def examine(session: Session, images: Images) -> Iterator[Finding]:
    """All findings, in the order things depend on each other."""
    yield _machine()
    version = images.version()
    yield check_engine(version)
    if version is None:
        return
    world = session.engine.observe(None)
    yield _check_images(images)
    yield check_port(world, session.stack, session.outside.is_free)
    yield from _check_stack(session, world)
    yield check_leftovers(world)
    yield check_disk(lambda: shutil.disk_usage(_existing(_ENGINE_FOLDER)).free)
    yield check_proxy(_daemon_settings())
    yield _check_psql(session)


def check_engine(version: str | None) -> Finding:
    if version is None:
        return Finding(
            "engine", Verdict.WRONG, "no Docker engine answers", "neon-compose up says what to do."
        )
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_ENGINE:
        return Finding("engine", Verdict.WRONG, f"Docker {version}", "Install Docker Engine 20.10 or newer.")
    return Finding("engine", Verdict.OK, f"Docker {version}")


def check_port(world: World, stack: str, free: ports.IsFree) -> Finding:
    """Who has :3000; another than our own is only a note, since other stacks take other ports."""
    ours = controller_of(_only(world, stack))
    if ours is not None and PORT in ours.published:
        return Finding("port 3000", Verdict.OK, f'it is the controller of stack "{stack}"')
    if free(PORT, "127.0.0.1"):
        return Finding("port 3000", Verdict.OK, "free")
    owner = ports.owner(PORT, world)
    return Finding(
        "port 3000", Verdict.NOTE, f"taken by {owner}", "Stacks with a name of their own take another."
    )


def check_leftovers(world: World) -> Finding:
    """Containers and networks of stacks that have no controller: a `down` that was cut off."""
    stacks = {one.stack for one in world.containers if one.stack}
    stacks |= {one.labels[labels.STACK] for one in world.networks if labels.STACK in one.labels}
    left = sorted(stack for stack in stacks if controller_of(_only(world, stack)) is None)
    if left:
        hint = f"neon-compose --stack {left[0]} down removes what is left of it; data stays."
        return Finding("leftovers", Verdict.NOTE, f"stacks without a controller: {', '.join(left)}", hint)
    return Finding("leftovers", Verdict.OK, "none")


def check_disk(free_bytes: Callable[[], int]) -> Finding:
    try:
        free = free_bytes()
    except OSError as error:
        return Finding("disk", Verdict.NOTE, f"could not look: {error}")
    if free < _ENOUGH_BYTES:
        return Finding(
            "disk", Verdict.WRONG, f"{render.size(free)} free", "Images and one database want 5 GiB."
        )
    return Finding("disk", Verdict.OK, f"{render.size(free)} free")


def check_proxy(daemon: dict[str, object]) -> Finding:
    """A published port goes through docker-proxy unless the engine is told otherwise."""
    if daemon.get("userland-proxy") is False:
        return Finding("userland-proxy", Verdict.OK, "off: published ports are as fast as can be")
    return Finding(
        "userland-proxy",
        Verdict.NOTE,
        "on: a published port halves the rate of small queries",
        f'neon-compose url --direct avoids it, or {{"userland-proxy": false}} in {_DAEMON_FILE}.',
    )


def _machine() -> Finding:
    python = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("machine", Verdict.OK, f"{sys.platform}, Python {python}")


def _check_images(images: Images) -> Finding:
    missing = [name for name in (*FIRST_IMAGES, LATER_IMAGE) if images.there(name) is None]
    if missing:
        return Finding(
            "images", Verdict.NOTE, f"not built yet: {', '.join(missing)}", "neon-compose up builds them."
        )
    return Finding("images", Verdict.OK, "all there")


def _check_stack(session: Session, world: World) -> Iterator[Finding]:
    what = f"stack {session.stack}"
    controller = controller_of(_only(world, session.stack))
    if controller is None:
        yield Finding(what, Verdict.NOTE, "not up", "neon-compose up -d")
        return
    if not controller.running:
        yield Finding(
            what, Verdict.WRONG, f"its controller is {controller.state}", "neon-compose up -d starts it."
        )
        return
    try:
        status = session.client.get("/status")
    except NeonError as error:
        yield Finding(what, Verdict.WRONG, error.message, error.hint)
        return
    yield Finding(what, Verdict.OK, f"its controller answers at {session.client.check().url}")
    for problem in status.get("problems", []):
        yield Finding(what, Verdict.WRONG, str(problem), "neon-compose logs")
    for storage in status.get("storages", []):
        if storage["state"] == "failed":
            found = str(storage.get("note") or "its pageserver gives no status")
            yield Finding(f"storage {storage['name']}", Verdict.WRONG, found, _FAILED_STORAGE)
    mode = access.path_of(session.stack).stat().st_mode & 0o777
    if mode != 0o600:
        path = access.path_of(session.stack)
        yield Finding("token", Verdict.WRONG, f"{path} has mode {mode:o}", f"chmod 600 {path}")


def _check_psql(session: Session) -> Finding:
    if session.outside.which("psql"):
        return Finding("psql", Verdict.OK, "there")
    return Finding(
        "psql", Verdict.NOTE, "not on this machine", "neon-compose psql uses the one in the container."
    )


def _only(world: World, stack: str) -> World:
    return World(containers=tuple(one for one in world.containers if one.stack == stack))


def _daemon_settings() -> dict[str, object]:
    try:
        found = json.loads(_DAEMON_FILE.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that we may look at."""
    for one in (folder, *folder.parents):
        try:
            if one.exists():
                return one
        except OSError:
            continue
    return Path("/")


def _readable(findings: list[Finding]) -> str:
    lines = []
    for one in findings:
        lines.append(f"{one.verdict:<5}  {one.what}: {one.found}")
        if one.hint and one.verdict is not Verdict.OK:
            lines.append(f"       hint: {one.hint}")
    return "\n".join(lines)
