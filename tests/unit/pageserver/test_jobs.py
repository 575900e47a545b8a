"""Long requests: events go out as they come, a vanished client cancels, the response ends after the work."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import MutableMapping
from typing import Any

from neon_compose.errors import Conflict
from neon_compose.pageserver.jobs import Job, JobResponse, Work

Message = MutableMapping[str, Any]


def serve(work: Work, *, leaves_after: float | None = None) -> list[dict[str, Any]]:
    """Run a response to its end as the server would; the lines it sent."""
    sent = bytearray()

    async def run() -> None:
        gone = asyncio.Event()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if gone.is_set():
                raise OSError("the client has gone")
            sent.extend(message.get("body", b""))

        if leaves_after is not None:
            asyncio.get_running_loop().call_later(leaves_after, gone.set)
        await JobResponse(work)({"type": "http"}, receive, send)

    asyncio.run(run())
    return [json.loads(line) for line in sent.splitlines()]


def test_steps_and_then_the_result() -> None:
    def work(job: Job) -> dict[str, Any]:
        with job.step("pack"):
            job.progress("pack", 1, 2)
        return {"made": True}

    lines = serve(work)
    assert [line.get("state") for line in lines[:-1]] == ["start", "progress", "done"]
    assert lines[-1] == {"result": {"made": True}}


def test_an_error_is_the_last_line_as_a_problem() -> None:
    def work(_: Job) -> dict[str, Any]:
        raise Conflict("no", code="busy")

    assert serve(work)[-1]["problem"]["code"] == "busy"


def test_whatever_else_goes_wrong_is_a_bug_and_still_a_last_line() -> None:
    def work(_: Job) -> dict[str, Any]:
        raise ZeroDivisionError("oops")

    problem = serve(work)[-1]["problem"]
    assert (problem["kind"], problem["title"]) == ("bug", "ZeroDivisionError: oops")


def test_a_client_that_leaves_cancels_silent_work_and_the_response_waits_for_its_end() -> None:
    cleaned = threading.Event()

    def work(job: Job) -> dict[str, Any]:
        try:
            while True:
                job.check()
                threading.Event().wait(0.01)
        finally:
            threading.Event().wait(0.05)
            cleaned.set()

    serve(work, leaves_after=0.05)
    assert cleaned.is_set()
