"""The controller's process: everything is put together here, and only here.

NEON_STACK   the stack's name               NEON_STATE  its state volume, default /state
NEON_IMAGES  JSON, component -> image tag   NEON_HOSTS  more names the API answers to, by commas
NEON_SELF    the controller's own container, empty outside of one
NEON_LISTEN  address:port, default 0.0.0.0:3000
NEON_FAULTS  moments at which it kills itself, for tests (controller.faults)
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from socket import socket

import uvicorn

from neon_compose import log, settings
from neon_compose.api.app import create_app
from neon_compose.controller import faults, pageservers, safekeepers
from neon_compose.controller.alone import hold_state
from neon_compose.controller.desired import Documents
from neon_compose.controller.events import EventLog
from neon_compose.controller.network import ensure_network
from neon_compose.controller.secrets import ensure_secrets
from neon_compose.controller.site import Site
from neon_compose.controller.specs import state_volume
from neon_compose.engine.docker import connect
from neon_compose.engine.metered import MeteredEngine
from neon_compose.engine.runtime import Engine, Kind
from neon_compose.errors import NeonError, Unavailable
from neon_compose.model.names import parse_name
from neon_compose.wire import keepalive

_DRAIN_S = 20  # for open requests; the stack's own stop follows


def main() -> None:
    log.configure()
    try:
        site = make_site()
    except NeonError as error:
        log.get(__name__).error("%s (%s) %s", error.message, error.detail, error.hint)
        sys.exit(error.exit_code)
    _join_network(site)
    hosts = frozenset(filter(None, settings.text("NEON_HOSTS").split(",")))
    host, _, port = settings.text("NEON_LISTEN", "0.0.0.0:3000").rpartition(":")
    config = uvicorn.Config(
        create_app(site, hosts),
        host=host,
        port=int(port),
        log_config=None,
        timeout_keep_alive=keepalive.SERVER_S,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    server = Server(config, site.events)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(Unavailable.exit_code)


class Server(uvicorn.Server):
    """Ends the followers of events before it waits for open requests to end: they never would."""

    def __init__(self, config: uvicorn.Config, events: EventLog) -> None:
        super().__init__(config)
        self._events = events

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._events.close()
        await super().shutdown(sockets)


def make_site() -> Site:
    """The site of this process: engine, documents, secrets. `Unavailable` without an engine."""
    stack = parse_name(settings.text("NEON_STACK", "neon"), "stack")
    root = Path(settings.text("NEON_STATE", "/state"))
    hold_state(root)
    me = settings.text("NEON_SELF") or None
    engine = MeteredEngine(connect())
    documents = Documents(root)
    secrets = ensure_secrets(root)
    _adopt_images(documents, json.loads(settings.text("NEON_IMAGES", "{}")))
    return Site(
        stack=stack,
        engine=engine,
        documents=documents,
        secrets=secrets,
        pageservers=pageservers.over_http(secrets.internal_token),
        safekeepers=safekeepers.over_http(secrets.internal_token),
        state_path=_state_on_engine(engine, stack, root, me),
        me=me,
        fault=faults.armed(settings.text("NEON_FAULTS"), root),
    )


def _join_network(site: Site) -> None:
    """Be in the stack's network before anybody connects: joining a network makes the engine publish the
    port anew, which cuts connections. What fails here is told when `PUT /stack` tries it again."""
    if site.me is None:
        return
    try:
        ensure_network(site.engine, site.stack, site.image("base"), site.me)
    except NeonError as error:
        log.get(__name__).warning("could not join the network yet: %s (%s)", error.message, error.detail)


def _adopt_images(documents: Documents, images: dict[str, str]) -> None:
    """Images of the environment win: an `up` of a newer version started this process with them."""
    before = documents.read().stack
    if images and {**before.images, **images} != before.images:
        documents.put(before.model_copy(update={"images": {**before.images, **images}}))


def _state_on_engine(engine: Engine, stack: str, root: Path, me: str | None) -> str:
    """Where the engine sees the state volume; outside of a container it is the folder itself."""
    if me is None:
        return str(root.absolute())
    volume = engine.observe(stack, (Kind.VOLUME,)).volume(state_volume(stack))
    return volume.mountpoint if volume is not None else str(root)


if __name__ == "__main__":
    main()
