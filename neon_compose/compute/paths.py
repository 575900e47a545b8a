"""Where a compute's things are: here in the work volume, and in the compute's container.

    /work/maps/<tip>.map                      /neon/maps (read-only)
    /work/pg/<pg>/<generation>/               /neon/pg
        compute.json                          how far it got (record.py); ours alone
        data/                                 PGDATA
        overlay                               the shim's bits (layer.overlay)
        marker                                the boot id of a finished sync (marker.py)
        unsynced                              a sync failed: there will be no marker (marker.py)
        run/                                  the Unix socket
    /storage/layers                           /neon/layers (read-only)
A generation is 12 hexadecimal digits, new for each time a pg's data is made anew.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

IN_CONTAINER = Path("/neon/pg")
MAPS_IN_CONTAINER = Path("/neon/maps")
LAYERS_IN_CONTAINER = Path("/neon/layers")
SHIM_IN_CONTAINER = Path("/usr/lib/neon/libneonshim.so")

_GENERATION = re.compile(r"[0-9a-f]{12}")


def new_generation() -> str:
    return secrets.token_hex(6)


def is_generation(text: str) -> bool:
    return _GENERATION.fullmatch(text) is not None


@dataclass(frozen=True)
class ComputePaths:
    """The files of one generation below `root`."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def overlay(self) -> Path:
        return self.root / "overlay"

    @property
    def marker(self) -> Path:
        return self.root / "marker"

    @property
    def unsynced(self) -> Path:
        return self.root / "unsynced"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def record(self) -> Path:
        return self.root / "compute.json"

    @property
    def control(self) -> Path:
        return self.data / "global" / "pg_control.neon"

    @property
    def wal(self) -> Path:
        return self.data / "pg_wal"


INSIDE = ComputePaths(IN_CONTAINER)
