"""The seam to the machine we run on: its programs, its files, who we are. For bootstrap and rootfs only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from neon_compose.engine.progress import Say

Poll = Callable[[], int | None]
LAST_LINES = 20


class Machine(Protocol):
    """Programs are argument lists, never a shell's words."""

    def is_root(self) -> bool: ...

    def has(self, program: str) -> bool:
        """Is `program` to be found in PATH, or in sbin, which a user's PATH may lack?"""
        ...

    def exists(self, path: str) -> bool: ...

    def read(self, path: str) -> str:
        """A file's text; empty if it is not there or not ours to read."""
        ...

    def run(self, argv: Sequence[str], say: Say) -> tuple[int, str]:
        """Run to its end, telling each line; exit status and the last lines."""
        ...

    def spawn(self, argv: Sequence[str], log: str) -> Poll:
        """Start a process that outlives us, its output appended to `log`; how to ask for its exit status."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is fine."""
        ...


class HostMachine:
    """See `Machine`: this one is real."""

    def is_root(self) -> bool:
        return os.geteuid() == 0

    def has(self, program: str) -> bool:
        sbin = ("/usr/local/sbin", "/usr/sbin", "/sbin")
        return bool(shutil.which(program) or shutil.which(program, path=os.pathsep.join(sbin)))

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def read(self, path: str) -> str:
        try:
            return Path(path).read_text(errors="replace")
        except OSError:
            return ""

    def run(self, argv: Sequence[str], say: Say) -> tuple[int, str]:
        last: deque[str] = deque(maxlen=LAST_LINES)
        with subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    if line.strip():
                        last.append(line.rstrip())
                        say(line.strip())
            except BaseException:  # Ctrl-C: what it works on is about to be removed under it
                process.terminate()
                process.wait()
                raise
        return process.returncode, "\n".join(last)

    def spawn(self, argv: Sequence[str], log: str) -> Poll:
        with Path(log).open("ab") as output:
            # Its own session: a terminal's Ctrl-C or hang-up must not end the engine.
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return process.poll

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)
