"""WAL that is not what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

from neon_compose.model.lsn import Lsn
from neon_compose.postgres.wal import segment_name
from tests.moment.world import World

SEGMENT = 4 << 20


def copied(world: World) -> Path:
    wal = world.home / "other-wal"
    shutil.rmtree(wal, ignore_errors=True)
    shutil.copytree(world.wal, wal)
    return wal


def flipped(world: World, at: int) -> Path:
    """A copy of the WAL with one bit of the byte at `at` turned around."""
    wal = copied(world)
    with (wal / segment_name(1, Lsn(at), SEGMENT)).open("r+b") as file:
        file.seek(at % SEGMENT)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0x10]))
    return wal
