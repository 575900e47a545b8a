"""Starting a compute and waiting at its gate: the pageserver watches Postgres, we watch the container.

`open` is sent before the container starts, so that Postgres is seen as soon as it is up. It can't see
the container, and a Postgres that died would only be noticed at its deadline: so we look at the
container beside it. An `open` we gave up on ends at its own, short, deadline; it does nothing that the
next one would not do.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from neon_compose.controller.desired import PgDoc
from neon_compose.controller.pageservers import Pageserver
from neon_compose.controller.specs import work_volume
from neon_compose.controller.steps import Open
from neon_compose.disks import Disks, Place
from neon_compose.engine.runtime import Engine, Kind
from neon_compose.errors import TimedOut, Unavailable
from neon_compose.wait import Deadline
from neon_compose.wire.pageserver import Opened

_SLICE_S = 5.0
_FIRST_LOOK_S = 0.1
_LONGEST_LOOK_S = 0.5
_LOG_LINES = 20


def pass_gate(
    engine: Engine,
    stack: str,
    workers: ThreadPoolExecutor,
    pageserver: Pageserver,
    step: Open,
    generation: str,
) -> Opened:
    """Start the container; return when clients get in.

    `Unavailable` with its last log lines if it ends, `TimedOut` with them if it doesn't open in time.
    """
    doc, container = step.doc, step.container
    given_up = threading.Event()
    deadline = Deadline.after(step.wait_s)
    answer = workers.submit(_open_in_slices, pageserver, step, generation, deadline, given_up)
    try:
        engine.start(container)
        pause_s = _FIRST_LOOK_S
        while True:
            try:
                return answer.result(timeout=pause_s)
            except TimeoutError:
                _check_alive(engine, stack, doc, container)
            except TimedOut as error:
                raise _not_opened(error, doc, step.wait_s, engine.logs(container, _LOG_LINES)) from error
            pause_s = min(pause_s * 1.5, _LONGEST_LOOK_S)
    finally:
        given_up.set()


def _open_in_slices(
    pageserver: Pageserver, step: Open, generation: str, deadline: Deadline, given_up: threading.Event
) -> Opened:
    while True:
        slice_s = min(_SLICE_S, max(deadline.left_s, 0.1))
        try:
            doc = step.doc
            return pageserver.open(doc.name, generation, doc.port, wait_s=slice_s, host=step.host)
        except TimedOut:
            if deadline.passed or given_up.is_set():
                raise


def _check_alive(engine: Engine, stack: str, doc: PgDoc, container: str) -> None:
    seen = engine.observe(stack, (Kind.CONTAINER,)).container(container)
    if seen is not None and seen.running:
        return
    ended = Unavailable(
        f'the compute of pg "{doc.name}" ended while it was opened',
        detail="\n".join(engine.logs(container, _LOG_LINES)) if seen else "Its container is gone.",
        hint="Its log says why; settings are changed by PUT /pgs.",
        code="compute_ended",
    )
    volume = work_volume(stack, doc.storage_name).name
    raise Disks((Place(Path("/neon/pg"), f'volume "{volume}"'),)).explain(ended) or ended


def _not_opened(error: TimedOut, doc: PgDoc, wait_s: float, said: list[str]) -> TimedOut:
    """What was waited for, what it said last, and what to do: "timed out" alone helps nobody."""
    waited = f"{wait_s / 60:.0f} min" if wait_s >= 60 else f"{wait_s:.0f} s"
    subject = error.message.removeprefix("timed out waiting for ")
    lines = "\n".join(said) if said else "(none)"
    return TimedOut(
        f'pg "{doc.name}" did not open within {waited}',
        detail=f"Waited for {subject}. {error.detail}".rstrip() + f"\nIts last log lines:\n{lines}",
        hint=f"Its data is kept. neon-compose pg start {doc.name} goes on where its recovery was; meanwhile "
        f"neon-compose logs -f pg_{doc.name} shows what it does.\n"
        "If its log shows no progress, neon-compose doctor says what else is wrong: a full disk, say.",
        code="not_opened",
    )
