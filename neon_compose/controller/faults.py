"""Moments at which a controller can be killed, for tests: before and after every step of a plan.

`NEON_FAULTS` names moments, separated by ";": "before create container t_pg_a". At each, once, the process
kills itself as the kernel's out-of-memory killer would: no undo, no goodbye. That it has done so is noted
in the state volume first, since the engine starts a killed controller again with the same environment.
Without the variable there are no moments.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from neon_compose import durable

log = logging.getLogger(__name__)

FOLDER = "faults"

Fault = Callable[[str], None]  # told of a moment; returns, or the process is dead


def no_fault(_: str) -> None:
    """What is armed when nothing is."""


def armed(moments: str, state: Path) -> Fault:
    """The fault that NEON_FAULTS asks for; `state` is where what has been done is noted."""
    wanted = frozenset(filter(None, (one.strip() for one in moments.split(";"))))
    return no_fault if not wanted else lambda moment: _kill_once(moment, state) if moment in wanted else None


def _kill_once(moment: str, state: Path) -> None:
    durable.make_folder(state / FOLDER)
    note = state / FOLDER / hashlib.sha256(moment.encode()).hexdigest()[:12]
    try:
        os.close(os.open(note, os.O_CREAT | os.O_EXCL | os.O_WRONLY, durable.PRIVATE_FILE))
    except FileExistsError:
        return
    log.warning("killed as asked: %s", moment)
    os.kill(os.getpid(), signal.SIGKILL)
