"""Make and end the controller's container, the only one that the CLI itself makes (DESIGN 10).

Invariant: SIGKILL of a controller stops nothing, so a running one is replaced by another spec without
the stack noticing; SIGTERM would stop the whole stack.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from neon_compose import settings
from neon_compose.cli import access, ports
from neon_compose.cli.access import Access
from neon_compose.cli.lookup import controller_of, read_token
from neon_compose.cli.ports import IsFree
from neon_compose.engine import labels
from neon_compose.engine.runtime import (
    Container,
    ContainerSpec,
    Engine,
    Kind,
    Mount,
    Publish,
    VolumeSpec,
    World,
)
from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.model.names import Name
from neon_compose.model.stackfile import DEFAULT_STACK, StackFile
from neon_compose.model.states import Component
from neon_compose.wait import Deadline, until

PORT = 3000
SOCKET = "/var/run/docker.sock"
STOP_S = 300
_READY_S = 60.0
_PORT_TRIES = 5


@dataclass(frozen=True)
class Wanted:
    """The controller as a stack file and the images say it should be, but for its port."""

    stack: Name
    bind: str
    hosts: tuple[str, ...]
    images: Mapping[str, str]


def wanted(stack: Name, file: StackFile, images: Mapping[str, str]) -> Wanted:
    return Wanted(stack, file.bind, (file.host,) if file.host else (), dict(images))


def spec(want: Wanted, port: int) -> ContainerSpec:
    """Without the socket's group: the label is a hash of this, so that a warm `up` needs no probe."""
    name = f"{want.stack}_controller"
    bare = ContainerSpec(
        name=name,
        image=want.images["controller"],
        component=Component.CONTROLLER,
        env={
            "NEON_STACK": want.stack,
            "NEON_STATE": "/state",
            "NEON_SELF": name,
            "NEON_HOSTS": ",".join(want.hosts),
            "NEON_IMAGES": json.dumps(dict(want.images), sort_keys=True),
            **({"NEON_FAULTS": faults} if (faults := settings.text("NEON_FAULTS")) else {}),
        },
        mounts=(Mount(f"{want.stack}_state", "/state"), Mount(_socket(), SOCKET)),
        publish=(Publish(PORT, want.bind, port),),
        tmpfs={"/tmp": "rw,size=64m,mode=1777"},
        read_only=True,
        restart="unless-stopped",
        stop_signal="SIGTERM",
        stop_timeout_s=STOP_S,
    )
    marks = labels.component_labels(want.stack, Component.CONTROLLER, spec=labels.spec_hash(bare))
    return replace(bare, labels=marks)


def ensure(engine: Engine, want: Wanted, free: IsFree = ports.is_free) -> Access:
    """A running controller as wanted, reached by the access returned. It need not answer yet.

    A port that is taken is a `Conflict` for the default stack; others take the next free one.
    """
    found = controller_of(engine.observe(want.stack, (Kind.CONTAINER,)))
    port = _port_of(want.stack, found)
    if found is not None and found.labels.get(labels.SPEC) == spec(want, port).labels[labels.SPEC]:
        if found.running:
            return _access(engine, found.name, port)
        if want.stack == DEFAULT_STACK or free(port, want.bind):
            _start(engine, found.name, port)
            return _access(engine, found.name, port)
    return _make(engine, want, found, port, free)


def _make(engine: Engine, want: Wanted, old: Container | None, port: int, free: IsFree) -> Access:
    default = want.stack == DEFAULT_STACK
    if default and not (old and old.running) and not free(port, want.bind):
        raise port_conflict(port, engine.observe(None, (Kind.CONTAINER,)))
    engine.ensure_volume(VolumeSpec(f"{want.stack}_state", labels.resource_labels(want.stack)))
    group = socket_group(engine, want.stack, want.images["base"])
    if old is not None:
        engine.remove(Kind.CONTAINER, old.name)
    for _ in range(_PORT_TRIES):
        if not default and not free(port, want.bind):
            port = ports.next_free(PORT, want.bind, free)
        made = replace(spec(want, port), group_add=(group,))
        try:
            engine.create(made)
            _start(engine, made.name, port)
        except Conflict as error:
            engine.remove(Kind.CONTAINER, made.name)
            if error.code != "port_taken" or default:
                raise
            port += 1
            continue
        return _access(engine, made.name, port)
    raise Conflict(f'no free port for the controller of stack "{want.stack}"', code="port_taken")


def _port_of(stack: Name, found: Container | None) -> int:
    """The port a stack has, had, or by default gets."""
    if found is not None and found.published:
        return found.published[0]
    known = access.read(stack)
    if stack != DEFAULT_STACK and known is not None:
        last = known.url.rsplit(":", 1)[-1]
        return int(last) if last.isdigit() else PORT
    return PORT


def port_conflict(port: int, world: World) -> Conflict:
    return Conflict(
        f"port {port} is taken",
        detail=f"It belongs to {ports.owner(port, world)}.",
        hint="Stop that, or use another stack, which takes the next free port: neon-compose --stack NAME up",
        code="port_taken",
    )


def _start(engine: Engine, name: str, port: int) -> None:
    try:
        engine.start(name)
    except Conflict as error:
        if error.code != "port_taken":
            raise
        raise port_conflict(port, engine.observe(None, (Kind.CONTAINER,))) from error


def _access(engine: Engine, name: str, port: int) -> Access:
    """Wait for the token, which the controller writes on its first start."""

    def token() -> str | None:
        try:
            return read_token(engine, name)
        except NotFound:
            return None

    def last_words() -> str:
        return "\n".join(engine.logs(name, 15))

    found = until(
        "the controller's token",
        token,
        Deadline.after(_READY_S),
        alive=lambda: _alive(engine, name),
        last_words=last_words,
    )
    return Access(f"http://127.0.0.1:{port}", found)


def _alive(engine: Engine, name: str) -> None:
    container = next(
        (one for one in engine.observe(None, (Kind.CONTAINER,)).containers if one.name == name), None
    )
    if container is None or not container.running:
        raise Unavailable(
            "the controller ended",
            detail="\n".join(engine.logs(name, 15)) if container else "Its container is gone.",
            hint="neon-compose logs controller shows the rest.",
            code="controller_ended",
        )


def socket_group(engine: Engine, stack: Name, image: str) -> str:
    """The gid of the engine's socket as a container sees it: the host's may be another machine's."""
    name = f"{stack}_probe_{uuid.uuid4().hex[:8]}"
    engine.create(
        ContainerSpec(
            name=name,
            image=image,
            labels=labels.resource_labels(stack),
            command=("stat", "-c", "%g", SOCKET),
            mounts=(Mount(_socket(), SOCKET),),
            network="none",
            read_only=True,
        )
    )
    try:
        engine.start(name)
        code = engine.wait(name, 30)
        lines = engine.logs(name)
    finally:
        engine.remove(Kind.CONTAINER, name)
    if code != 0 or not lines or not lines[-1].strip().isdigit():
        raise Unavailable("could not look at the engine's socket", detail="\n".join(lines))
    return lines[-1].strip()


def _socket() -> str:
    """The socket on the engine's machine. DOCKER_HOST counts only where it is no forwarded one."""
    path = settings.text("DOCKER_HOST").removeprefix("unix://")
    return path if path.startswith(("/run/", "/var/run/")) else SOCKET
