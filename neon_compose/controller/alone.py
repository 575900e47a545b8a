"""One controller at a time on a state volume: two would each think that all locks are theirs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from neon_compose import durable
from neon_compose.errors import Conflict, TimedOut
from neon_compose.wait import Deadline, until

_WAIT_S = 10.0  # for one that was just killed


def hold_state(root: Path, wait_s: float = _WAIT_S) -> int:
    """Have the state volume at `root` for oneself, until this process ends, however it does.

    Gives the file that is locked. Raises `Conflict` code "second_controller" if another has it.
    """
    fd = os.open(root / ".controller", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.PRIVATE_FILE)

    def locked() -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        until("the other controller to end", locked, Deadline.after(wait_s))
    except TimedOut as error:
        os.close(fd)
        raise Conflict(
            "another controller runs on this stack",
            detail=f"It holds the state volume, {root}.",
            hint="neon-compose up -d finds or replaces it.",
            code="second_controller",
        ) from error
    return fd
