"""Long requests: the work runs in a thread, its events leave as NDJSON, a vanished client cancels it.

The response watches the connection itself: Starlette's own streaming only notices a client that left
when it next sends, and a silent pg_restore sends nothing for minutes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from neon_compose import log, wait
from neon_compose.errors import Bug, NeonError, Unavailable
from neon_compose.wire import ndjson

_log = log.get(__name__)
_PROGRESS_S = 0.2


class Job:
    """What running work knows of its request: a place for events, and whether anybody still waits."""

    def __init__(self, emit: ndjson.Emit) -> None:
        self.emit = emit
        self._cancelled = threading.Event()
        self._last_progress_s = 0.0

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        """Raise `Unavailable` code "cancelled" once the client has gone."""
        if self._cancelled.is_set():
            raise Unavailable("the request was cancelled", code="cancelled")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A named step: emits its start, and its time when it ends well."""
        self.check()
        began_s = wait.monotonic_s()
        self.emit(ndjson.Step(name=name, state="start"))
        yield
        ms = round((wait.monotonic_s() - began_s) * 1000, 1)
        self.emit(ndjson.Step(name=name, state="done", ms=ms))

    def progress(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        """Emit how far a step is, a few times a second at most; also a cancellation point."""
        self.check()
        now_s = wait.monotonic_s()
        if now_s - self._last_progress_s >= _PROGRESS_S:
            self._last_progress_s = now_s
            self.emit(ndjson.Step(name=name, state="progress", bytes=done_bytes, total_bytes=total_bytes))

    def note(self, name: str, text: str) -> None:
        self.emit(ndjson.Step(name=name, state="progress", note=text))


Work = Callable[[Job], dict[str, Any]]


class JobResponse(Response):
    """Runs `work` in a thread while its events are sent; ends with its result or its problem.

    The response ends only when the work has: a cancelled import has cleaned up before anybody can see
    its request gone.
    """

    media_type = "application/x-ndjson"

    def __init__(self, work: Work) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()

        def put(line: bytes | None) -> None:
            loop.call_soon_threadsafe(lines.put_nowait, line)

        job = Job(lambda step: put(ndjson.encode(step)))
        watcher = asyncio.create_task(_cancel_when_gone(receive, job))
        worker = loop.run_in_executor(None, self._run, job, put)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while (line := await lines.get()) is not None:
                await send({"type": "http.response.body", "body": line, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            job.cancel()
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            job.cancel()  # a shutdown lands here with the work still running
            await asyncio.shield(worker)

    def _run(self, job: Job, put: Callable[[bytes | None], None]) -> None:
        try:
            put(ndjson.encode(ndjson.Result(result=self._work(job))))
        except NeonError as error:
            _log.warning("%s (%s)", error.message, error.detail)
            put(ndjson.encode_problem(error))
        except Exception as error:  # the border: whatever it is, the client gets a last line
            _log.exception("a long request failed")
            put(ndjson.encode_problem(Bug(f"{type(error).__name__}: {error}")))
        finally:
            put(None)


async def _cancel_when_gone(receive: Receive, job: Job) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    job.cancel()
