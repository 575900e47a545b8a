"""The application: routes, guard, problems, and what happens when it starts and ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio.to_thread
from fastapi import Depends, FastAPI

from neon_compose import __version__
from neon_compose.api import events, metered, pgs, problems, snapshots, stack, storages
from neon_compose.api.deps import known_query
from neon_compose.api.guard import Guard
from neon_compose.controller import stack as whole
from neon_compose.controller.expiring import Sweeper
from neon_compose.controller.recorder import Recorder
from neon_compose.controller.reviving import Reviver
from neon_compose.controller.site import REQUESTS, Site
from neon_compose.errors import NeonError
from neon_compose.wire.rest import Problem

log = logging.getLogger(__name__)

_DESCRIPTION = """Postgres with storage apart from compute, in containers.

Every call but /healthz, /docs and this document needs the token, as Bearer or as the password of Basic
(`neon-compose token` prints it). Errors are RFC 9457 problem documents. Every call that changes
something takes `?dry_run=true`; repeating one is success."""


def create_app(site: Site, hosts: frozenset[str] = frozenset(), *, owns_stack: bool = True) -> FastAPI:
    """`owns_stack`: bring back what documents want at start, and stop all of it in order at the end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = REQUESTS
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(REQUESTS))
        reviver, sweeper = Reviver(site), Sweeper(site)
        recorder = Recorder(site.engine, site.stack, site.events, reviver.tell)
        recorder.start()
        if owns_stack:
            reviver.start()
            sweeper.start()
            site.workers.submit(whole.bring_back, site)
        else:
            site.ready.set()
        yield
        if owns_stack:
            reviver.close()
            sweeper.close()
            log.info("stopping the stack")
            await asyncio.to_thread(_stop, site)
        recorder.close()

    app = FastAPI(
        title="neon-compose",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        dependencies=[Depends(known_query)],
    )
    app.state.site = site
    app.state.requests = metered.Requests()
    app.openapi = partial(_openapi, app, app.openapi)  # type: ignore[method-assign]
    for module in (storages, snapshots, pgs, stack, events, metered):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(Guard, token=site.secrets.token, hosts=hosts)
    app.add_middleware(metered.Metered, requests=app.state.requests)  # added last: outermost
    return app


def _stop(site: Site) -> None:
    """An engine that is gone, or is going down itself, leaves nothing to be stopped in order."""
    try:
        whole.stop(site)
    except NeonError as error:
        log.error("the stack was not stopped in order: %s (%s)", error.message, error.detail)


def _openapi(app: FastAPI, generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The document, with the schema that all problem answers refer to."""
    if app.openapi_schema is None:
        document = generate()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    return app.openapi_schema or {}
