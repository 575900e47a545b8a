"""Steps as they happen: live on a terminal, plain lines elsewhere. Always on stderr.

A reporter takes the `Step`s of wire.ndjson, whoever made them: the controller, the image builds or `up`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from neon_compose import wait
from neon_compose.cli.render import seconds, size
from neon_compose.wire.ndjson import Event, Result, Step

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PLAIN_EVERY_S = 5.0

Clock = Callable[[], float]


class Reporter(AbstractContextManager["Reporter"], Protocol):
    def emit(self, step: Step) -> None:
        """Show `step`."""


def reporter(stream: TextIO | None = None) -> Reporter:
    """A live one on a terminal, else one of plain lines."""
    stream = stream or sys.stderr
    return Live() if stream.isatty() else Plain(stream)


@contextmanager
def step(show: Reporter, name: str) -> Iterator[None]:
    """Report the block as one step with its time; a block that raises is left without its end."""
    began_s = wait.monotonic_s()
    show.emit(Step(name=name, state="start"))
    yield
    show.emit(Step(name=name, state="done", ms=(wait.monotonic_s() - began_s) * 1000))


def result_of(events: Iterator[Event], show: Reporter) -> dict[str, Any]:
    """Report all steps of a stream and give its result; raises the stream's problem."""
    for event in events:
        if isinstance(event, Result):
            return event.result
        show.emit(event)
    raise AssertionError("a stream ends with its result or raises")


class _Timed:
    """Gives a step its time when whoever tells of it didn't."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s: dict[str, float] = {}

    def timed(self, step: Step) -> Step:
        if step.state == "start":
            self._began_s[step.name] = self._clock()
        began_s = self._began_s.pop(step.name, None) if step.state == "done" else None
        if step.ms is not None or began_s is None:
            return step
        return step.model_copy(update={"ms": (self._clock() - began_s) * 1000})


class Plain:
    """A line per step, begun when the step begins and ended when it is done; bytes every few seconds, notes
    always.

    What comes in between has lines of its own, and then so has the end.
    """

    def __init__(self, stream: TextIO, clock: Clock = wait.monotonic_s) -> None:
        self._stream = stream
        self._clock = clock
        self._times = _Timed(clock)
        self._told_s: dict[str, float] = {}
        self._open: str | None = None  # the step whose line has no end yet

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._write("", "" if self._open is None else "\n")
        self._open = None
        return False

    def emit(self, step: Step) -> None:
        step = self._times.timed(step)
        now_s = self._clock()
        if (
            step.state == "progress"
            and not step.note
            and now_s - self._told_s.get(step.name, 0.0) < _PLAIN_EVERY_S
        ):
            return
        self._told_s[step.name] = now_s
        if step.state == "done" and step.name == self._open:
            self._write(_end(step), "\n")
        else:
            between = "\n" if self._open is not None else ""
            self._write(between + _line(step), "" if step.state == "start" else "\n")
        self._open = step.name if step.state == "start" else None

    def _write(self, text: str, end: str) -> None:
        self._stream.write(text + end)
        self._stream.flush()


class Live:
    """A spinner per running step, with its bytes and time; done ones stay above as lines."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._times = _Timed(wait.monotonic_s)
        self._tasks: dict[str, TaskID] = {}
        self._progress: Progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[bytes]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
            redirect_stdout=False,  # results must never end up on stderr
        )

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._progress.stop()
        return False

    def emit(self, step: Step) -> None:
        step = self._times.timed(step)
        if step.state == "done":
            task = self._tasks.pop(step.name, None)
            if task is not None:
                self._progress.remove_task(task)
            self._progress.console.print(_line(step), markup=False)
            return
        if step.state == "progress" and step.note:
            self._progress.console.print(_line(step), markup=False)
            return
        if step.name not in self._tasks:
            self._tasks[step.name] = self._progress.add_task(step.name, total=None, bytes="")
        self._progress.update(self._tasks[step.name], bytes=_amount(step))


def _line(step: Step) -> str:
    note = f": {step.note}" if step.note else ""
    match step.state:
        case "start":
            return f"{step.name}{note} …"
        case "progress":
            return f"{step.name}{note}" if note else f"{step.name} … {_amount(step)}".rstrip()
        case "done":
            return f"{step.name}{note}{_end(step)}"


def _end(step: Step) -> str:
    if step.ms is not None:
        return f" {seconds(step.ms / 1000)}"
    return "" if step.note else " done"


def _amount(step: Step) -> str:
    if step.bytes is None:
        return ""
    if not step.total_bytes:
        return size(step.bytes)
    return f"{size(step.bytes)} of {size(step.total_bytes)} ({100 * step.bytes // step.total_bytes} %)"
