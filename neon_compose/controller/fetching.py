"""What a storage is imported from when that is no dump: a running server, or a data directory.

A short container fetches it into the storage's work volume, then the pageserver makes the storage of that.
For a server it runs in the host's network, so "localhost" means the machine of the engine; for a folder it
has that mounted read-only and no network. The password goes by the pageserver's HTTP into a 0600 file of
the work volume: never into labels, arguments, environments or logs.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from neon_compose.controller import specs
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.probe import created_probe
from neon_compose.engine.runtime import ContainerSpec, Engine, Mount
from neon_compose.errors import NotFound, Unavailable
from neon_compose.model.origin import Server
from neon_compose.wire import ndjson
from neon_compose.wire.fetching import FOLDER, SOCKET_FOLDER, FetchRequest
from neon_compose.wire.pageserver import ImportAs

_MODULE = ("/opt/neon/bin/python", "-m", "neon_compose.pageserver.fetch")
_TMP = {"/tmp": "rw,size=256m,mode=1777"}
_LAST_LINES = 20


@dataclass(frozen=True)
class Origin:
    """A server (its password apart) or an engine-side data directory."""

    server: Server | None = None
    folder: str | None = None

    def __str__(self) -> str:
        return str(self.server) if self.server else str(self.folder)


def fetch_spec(stack: str, storage: str, image: str, origin: Origin, fetch_id: str) -> ContainerSpec:
    mounts = [Mount(specs.work_volume(stack, storage).name, "/work")]
    server = origin.server
    if server is not None and server.socket_folder is not None:
        mounts.append(Mount(server.socket_folder, SOCKET_FOLDER, read_only=True))
    if origin.folder is not None:
        mounts.append(Mount(origin.folder, FOLDER, read_only=True))
    return ContainerSpec(
        name="",
        image=image,
        entrypoint=_MODULE,
        command=(f"/work/scratch/{fetch_id}",),
        env={"NEON_WORK_AT": specs.work_volume(stack, storage).name},  # for errors
        mounts=tuple(mounts),
        tmpfs=_TMP,
        network="host" if server is not None else "none",
        # A data directory is its server's user's alone: root reads it, and our user writes the copy.
        user="0:0" if server is None else "10001:10001",
        cap_add=("DAC_OVERRIDE", "SETUID", "SETGID") if server is None else (),
        read_only=True,
    )


def fetch(
    engine: Engine,
    stack: str,
    storage: str,
    image: str,
    pageserver: Pageserver,
    origin: Origin,
    what: ImportAs,
) -> Generator[ndjson.Event, None, None]:
    """Fetch, and make `what` of it; events of both. Closing the iterator ends and removes it all."""
    server = origin.server
    request = FetchRequest(
        server=str(server) if server else None,
        password=server.password if server else None,
        folder=origin.folder,
    )
    folder = pageserver.begin_fetch(request, what)
    try:
        with created_probe(engine, stack, fetch_spec(stack, storage, image, origin, folder.id)) as name:
            engine.start(name)
            for event in _events(engine.follow(name, tail=1000)):
                if isinstance(event, ndjson.Step):
                    yield event
        yield from pageserver.import_fetched(folder.id, what)
    finally:
        pageserver.drop_fetch(folder.id)


def _events(lines: Iterator[str]) -> Iterator[ndjson.Event]:
    """The container's events. What isn't one is a dying program's last words."""
    other: list[str] = []

    def said() -> Iterator[str]:
        for line in lines:
            if line.startswith("{"):
                yield line
            else:
                other.append(line)

    try:
        yield from ndjson.decode(said())
    except Unavailable as error:
        if error.code != "cut_off":
            raise
        raise Unavailable(
            "the container that fetches the source ended early",
            detail="\n".join(other[-_LAST_LINES:]),
            code="fetch_cut_off",
        ) from error


def missing_socket(error: NotFound, origin: Origin) -> NotFound:
    """A socket's folder that isn't on the engine's machine."""
    if error.code != "path_missing" or origin.server is None:
        return error
    return NotFound(
        f'there is no folder "{origin.server.socket_folder}" for a Unix socket',
        detail="It is looked for on the machine that the Docker engine runs on.",
        hint="Name a host: postgres://user@localhost/database.",
        code="no_socket",
    )
