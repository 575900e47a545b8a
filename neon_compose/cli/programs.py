"""Run a program of the host in the foreground: psql, or the docker client for a terminal in a container."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

from neon_compose.errors import Unavailable


def run(argv: list[str], env: Mapping[str, str]) -> int:
    """Run `argv` with `env` added to ours; its exit code, or 128 + the signal that ended it.

    Ctrl-C belongs to the program (psql cancels a query with it), so it is ignored here meanwhile.
    Secrets go by `env`: argv can be read by every user of the machine.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            argv, env=os.environ | env, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
        code = process.wait()
    except OSError as error:
        raise Unavailable(f"could not run {argv[0]!a}", detail=f"{error}.", code="program_failed") from error
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code
