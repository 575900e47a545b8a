"""The Postgres majors this version of ours runs, and where their programs are.

Owns: the catalog. Facts about a major's file formats live beside the code that reads them (`control.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import Invalid

WAL_SEGMENT_MB = 4  # DESIGN 5: as fast as 16 MiB, and a new branch carries one segment


@dataclass(frozen=True)
class Version:
    """One major and the folder its programs are in (Debian's layout)."""

    major: int
    bin_dir: Path

    @property
    def libraries(self) -> Path:
        """Where extensions' libraries are ($libdir)."""
        return self.bin_dir.parent / "lib"

    def program(self, name: str) -> Path:
        return self.bin_dir / name


CATALOG: dict[int, Version] = {17: Version(17, Path("/usr/lib/postgresql/17/bin"))}


def version(major: int) -> Version:
    """The catalog's entry; raises `Invalid` naming the majors there are."""
    known = CATALOG.get(major)
    if known is None:
        raise Invalid(
            f"Postgres {major} is not available",
            detail=f"This version runs Postgres {', '.join(map(str, sorted(CATALOG)))}.",
            code="unknown_major",
        )
    return known
