"""`neon-compose doctor`: look at machine, engine and stack, and say what is wrong and what to do.

Changes nothing and needs nothing to run: every check that can't be made says so. What is wrong in the
stack the controller finds; the words for all of it are in `model.troubles`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from neon_compose.cli import access, ports, render
from neon_compose.cli.args import Output
from neon_compose.cli.controller_container import PORT
from neon_compose.cli.lookup import controller_of
from neon_compose.cli.session import Session, give
from neon_compose.cli.up import FIRST_IMAGES, LATER_IMAGE, Images
from neon_compose.engine import labels
from neon_compose.engine.runtime import ContainerState, World
from neon_compose.errors import NeonError
from neon_compose.model.troubles import Trouble, words_of
from neon_compose.wait import now

OLDEST_ENGINE = (20, 10)
_ENOUGH_BYTES = 5 << 30
_CLOCK_GRAIN = timedelta(seconds=5)
_DAEMON_FILE = Path("/etc/docker/daemon.json")
_ENGINE_FOLDER = Path("/var/lib/docker")


class Verdict(StrEnum):
    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, what that means, and what to do about it."""

    what: str
    verdict: Verdict
    found: str
    hint: str = ""
    kind: Trouble | None = None
    means: str = ""


def trouble(kind: Trouble, what: str, found: str, stack: str = "neon", name: str = "") -> Finding:
    """A finding with the words of its kind."""
    words = words_of(kind, stack, name)
    return Finding(what, Verdict.WRONG if words.wrong else Verdict.NOTE, found, words.hint, kind, words.means)


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
    yield check_disk(_free_bytes)
    yield check_proxy(_daemon_settings())
    yield _check_psql(session)


def check_engine(version: str | None) -> Finding:
    if version is None:
        return trouble(Trouble.ENGINE_GONE, "engine", "no Docker engine answers")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_ENGINE:
        return trouble(Trouble.ENGINE_OLD, "engine", f"Docker {version}")
    return Finding("engine", Verdict.OK, f"Docker {version}")


def check_port(world: World, stack: str, free: ports.IsFree) -> Finding:
    """Who has :3000; another than our own is only a note, since other stacks take other ports."""
    ours = controller_of(_only(world, stack))
    if ours is not None and PORT in ours.published:
        return Finding("port 3000", Verdict.OK, f'it is the controller of stack "{stack}"')
    if free(PORT, "127.0.0.1"):
        return Finding("port 3000", Verdict.OK, "free")
    return trouble(Trouble.API_PORT_TAKEN, "port 3000", f"taken by {ports.owner(PORT, world)}")


def check_leftovers(world: World) -> Finding:
    """Containers and networks of stacks that have no controller: a `down` that was cut off."""
    stacks = {one.stack for one in world.containers if one.stack}
    stacks |= {one.labels[labels.STACK] for one in world.networks if labels.STACK in one.labels}
    left = sorted(stack for stack in stacks if controller_of(_only(world, stack)) is None)
    if left:
        found = f"stacks without a controller: {', '.join(left)}"
        return trouble(Trouble.LEFTOVER, "leftovers", found, name=left[0])
    return Finding("leftovers", Verdict.OK, "none")


def check_name(world: World, stack: str) -> Iterator[Finding]:
    """Somebody else's container where the controller is to be; those of other containers it sees itself."""
    name = f"{stack}_controller"
    seen = world.container(name)
    if seen is not None and seen.stack != stack:
        found = f'container "{name}" is not of stack "{stack}"'
        yield trouble(Trouble.NAME_TAKEN, f"container {name}", found, stack, name)


def check_disk(free_bytes: Callable[[], int]) -> Finding:
    try:
        free = free_bytes()
    except OSError as error:
        return trouble(Trouble.DISK_UNKNOWN, "disk", f"could not look: {error}")
    if free < _ENOUGH_BYTES:
        return trouble(Trouble.DISK_FULL, "disk", f"{render.size(free)} free")
    return Finding("disk", Verdict.OK, f"{render.size(free)} free")


def check_clock(theirs: datetime, before: datetime, after: datetime) -> Finding:
    """The controller's clock, asked between two looks at ours."""
    if before - _CLOCK_GRAIN <= theirs <= after + _CLOCK_GRAIN:
        return Finding("clock", Verdict.OK, "the engine's and this machine's agree")
    off_s = abs((theirs - before).total_seconds())
    word = "behind" if theirs < before else "ahead"
    return trouble(Trouble.CLOCK_OFF, "clock", f"the engine's is {render.seconds(off_s)} {word}")


def check_proxy(daemon: dict[str, object]) -> Finding:
    """A published port goes through docker-proxy unless the engine is told otherwise."""
    if daemon.get("userland-proxy") is False:
        return Finding("userland-proxy", Verdict.OK, "off: published ports are as fast as can be")
    found = "on: a published port halves the rate of small queries"
    return trouble(Trouble.PROXY_ON, "userland-proxy", found)


def _machine() -> Finding:
    python = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("machine", Verdict.OK, f"{sys.platform}, Python {python}")


def _check_images(images: Images) -> Finding:
    missing = [name for name in (*FIRST_IMAGES, LATER_IMAGE) if images.there(name) is None]
    if missing:
        return trouble(Trouble.IMAGE_MISSING, "images", f"not built yet: {', '.join(missing)}")
    return Finding("images", Verdict.OK, "all there")


def _check_stack(session: Session, world: World) -> Iterator[Finding]:
    stack, what = session.stack, f"stack {session.stack}"
    yield from check_name(world, stack)
    controller = controller_of(_only(world, stack))
    if controller is None:
        yield trouble(Trouble.NOT_UP, what, "not up", stack)
        return
    if controller.state is ContainerState.PAUSED:
        found = "its controller is paused"
        yield trouble(Trouble.CONTAINER_PAUSED, what, found, stack, controller.name)
        return
    if not controller.running:
        yield trouble(Trouble.CONTROLLER_ENDED, what, f"its controller is {controller.state}", stack)
        return
    try:
        yield from _of_controller(session)
    except NeonError as error:
        yield trouble(Trouble.CONTROLLER_SILENT, what, error.message, stack)
        return
    mode = access.path_of(stack).stat().st_mode & 0o777
    if mode != 0o600:
        path = str(access.path_of(stack))
        yield trouble(Trouble.TOKEN_READABLE, "token", f"{path} has mode {mode:o}", name=path)


def _of_controller(session: Session) -> Iterator[Finding]:
    """What it finds itself. It may be older than this program, and not know that question."""
    before = now()
    answer = session.client.find("/findings")
    after = now()
    url = session.client.check().url
    yield Finding(f"stack {session.stack}", Verdict.OK, f"its controller answers at {url}")
    if answer is None:
        for problem in session.client.get("/status").get("problems", []):
            yield trouble(Trouble.NOT_BROUGHT_UP, f"stack {session.stack}", str(problem), session.stack)
        return
    yield check_clock(datetime.fromisoformat(answer["now"]), before, after)
    known = list(Trouble)
    for one in answer["findings"]:
        verdict = Verdict.WRONG if one["wrong"] else Verdict.NOTE
        kind = Trouble(one["kind"]) if one["kind"] in known else None
        yield Finding(one["name"], verdict, one["found"], one["hint"], kind, one["means"])


def _check_psql(session: Session) -> Finding:
    if session.outside.which("psql"):
        return Finding("psql", Verdict.OK, "there")
    return trouble(Trouble.NO_PSQL, "psql", "not on this machine")


def _only(world: World, stack: str) -> World:
    return World(containers=tuple(one for one in world.containers if one.stack == stack))


def _daemon_settings() -> dict[str, object]:
    try:
        found = json.loads(_DAEMON_FILE.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _free_bytes() -> int:
    return shutil.disk_usage(_existing(_ENGINE_FOLDER)).free


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
        if one.verdict is Verdict.OK:
            continue
        lines += [f"       {one.means}"] if one.means else []
        lines += [f"       hint: {one.hint}"] if one.hint else []
    return "\n".join(line.replace("\n", "\n       ") for line in lines)
