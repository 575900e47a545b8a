"""Running one of Postgres's programs to its end, watched.

Invariant: no process outlives the call that started it. `watch` is called about every 50 ms while something
runs; what it raises (a cancelled request, say) kills the process group and is passed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from neon_compose.errors import NeonError

_WATCH_S = 0.05
_REAP_S = 10.0
_TAIL_BYTES = 4000
_TAIL_LINES = 20

Watch = Callable[[], None]
WatchPid = Callable[[int], None]


def ignore(_pid: int) -> None:
    """A watch that watches nothing."""


class ProgramFailed(NeonError):
    """A program ended with an error; `last_lines` is the end of what it said."""

    kind, status, exit_code = "bug", 500, 70

    def __init__(self, program: str, returncode: int, last_lines: str) -> None:
        super().__init__(f"{program} failed", detail=last_lines or f"It exited with {returncode}.")
        self.program = program
        self.returncode = returncode
        self.last_lines = last_lines


def run(
    command: Sequence[str],
    said: Path,
    *,
    watch: WatchPid,
    stdin: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a program to its end, its output in the file `said`; the output's tail. Raises `ProgramFailed`."""
    with said.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        returncode = _watched(process, watch)
    except BaseException:
        _kill_group(process)
        raise
    if returncode:
        raise ProgramFailed(Path(command[0]).name, returncode, tail(said))
    return tail(said)


def run_server(
    command: Sequence[str], said: Path, *, watch: Watch, env: Mapping[str, str], cwd: Path
) -> None:
    """Run a server that ends by itself, as one that is told where recovery stops; it gives way. Raises
    `ProgramFailed`; what `watch` raises ends it and all its children."""
    with said.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    _give_way(process)
    try:
        returncode = _watched(process, lambda _: watch())
    except BaseException:
        quit_server(process)
        raise
    if returncode:
        raise ProgramFailed(Path(command[0]).name, returncode, tail(said))


def _give_way(process: subprocess.Popen[bytes]) -> None:
    """Have it, and what it starts, take the CPU from nobody that has it. It keeps its share: an idle process
    could starve on a busy machine, though somebody may wait for it.

    From outside: a program that sets this and becomes the server would use up what is preloaded for that one.
    """
    with suppress(OSError):  # it has ended, or the engine's rules for system calls forbid it
        os.sched_setscheduler(process.pid, os.SCHED_BATCH, os.sched_param(0))


def _watched(process: subprocess.Popen[bytes], watch: WatchPid) -> int:
    while True:
        try:
            return process.wait(_WATCH_S)
        except subprocess.TimeoutExpired:
            watch(process.pid)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process we started in its own session, and all its children, and reap it.

    Reaping comes last, so the group id can't have gone to somebody else.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_REAP_S)


def quit_server(process: subprocess.Popen[bytes]) -> None:
    """End a server without a checkpoint, its children first.

    Each child of a postmaster leads a group of its own, so a SIGKILL to the postmaster's would leave them
    writing into a folder that is about to be removed. On SIGQUIT the postmaster ends and reaps them all,
    by SIGKILL after 5 s.
    """
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(_REAP_S)
    except subprocess.TimeoutExpired:
        _kill_group(process)


def tail(path: Path) -> str:
    """The last lines of a log file; empty if there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
