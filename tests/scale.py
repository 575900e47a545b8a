"""How much a test of chance does: little and always the same in CI, much and new each time in `make chaos`.

`make chaos` sets CHAOS=1 and runs the tests marked `chaos`: the same code with larger numbers. Every run
says its seed; SEED=<number> repeats it.
"""

from __future__ import annotations

import os
import random

LONG = os.environ.get("CHAOS") == "1"
_IN_CI = 20261125


def amount(short: int, long: int) -> int:
    """`short` in `make test`, `long` in `make chaos`."""
    return long if LONG else short


def seed() -> int:
    """SEED if it is set, else one number in CI and another each time in chaos. Pytest shows it on failure."""
    chosen = int(os.environ.get("SEED") or (random.SystemRandom().randrange(1 << 31) if LONG else _IN_CI))
    print(f"SEED={chosen} CHAOS={int(LONG)}")
    return chosen
