"""The seam to an engine that builds images; `docker_builder.py` is the real one.

Only tags that begin with `neon-compose-` are ever listed, made or removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from neon_compose.engine.progress import Say

OURS = "neon-compose-"


@dataclass(frozen=True)
class Build:
    """One image to build: a tar with Dockerfile and files, and what the build may know of this network.

    `args` never end up in the image: they name parents (FROM) or are used by build stages only.
    """

    tag: str
    context: bytes
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] | None = None
    on_host_network: bool = False


class ImageBuilder(Protocol):
    """Every method raises `Unavailable` when the engine does not answer. Repeating one is harmless."""

    def ping(self) -> str:
        """The engine's version, within a few seconds."""
        ...

    def tags(self) -> frozenset[str]:
        """Our tags that exist."""
        ...

    def build(self, build: Build, say: Say) -> None:
        """Build with the classic builder and tag it; an equal layer is not built again.

        Raises `Unavailable` with code `build_failed`, the last lines of the output as detail.
        """
        ...

    def import_root(self, tag: str, tar: Path) -> None:
        """Make a one-layer image of a root file system."""
        ...

    def pull(self, reference: str, tag: str, say: Say) -> None:
        """Pull `reference` (by digest) and tag it. Raises `Unavailable` soon if no registry answers."""
        ...

    def remove(self, tag: str) -> None:
        """Take the tag away, and the image if nothing else uses it; one in use stays."""
        ...
