"""Find a stack's controller through the engine: for a lost or stale state file, and for `up` and `down`."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

from neon_compose.cli.access import Access
from neon_compose.engine.runtime import Container, Engine, Kind, Reader, World
from neon_compose.errors import NotFound, Unavailable
from neon_compose.model.names import Name
from neon_compose.model.states import Component

TOKEN_PATH = "/state/secrets/token"


def fetch_access(engine: Engine, stack: Name) -> Access:
    """URL and token of the running controller. Raises `Unavailable` (code "not_up") when there is none."""
    controller = controller_of(engine.observe(stack, (Kind.CONTAINER,)))
    if controller is None or not controller.running or not controller.published:
        raise Unavailable(
            f'stack "{stack}" is not up',
            detail=f"Container {controller.name} is {controller.state}."
            if controller
            else "It has no controller.",
            hint=f"Start it: neon-compose --stack {stack} up -d",
            code="not_up",
        )
    return Access(url_of(controller), read_token(engine, controller.name))


def controller_of(world: World) -> Container | None:
    return next(iter(world.of(Component.CONTROLLER)), None)


def url_of(controller: Container) -> str:
    return f"http://127.0.0.1:{controller.published[0]}"


def read_token(engine: Reader, controller: str) -> str:
    """The token in the controller's state volume. Raises `NotFound` while it isn't written yet."""
    return _only_file(engine.read_archive(controller, TOKEN_PATH)).decode().strip()


def _only_file(chunks: Iterator[bytes]) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                return file.read()
    raise NotFound("the archive has no file", code="no_file")
