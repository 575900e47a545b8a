"""What a pageserver's service works with; put together in __main__."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.archiving import Archiving
from neon_compose.pageserver.birth import Birth
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.chronicle import Chronicle
from neon_compose.pageserver.claims import Claims
from neon_compose.pageserver.computes import Computes
from neon_compose.pageserver.deleting import Deleting
from neon_compose.pageserver.diffing import Differ
from neon_compose.pageserver.fetches import Fetches
from neon_compose.pageserver.recovering import Recovering
from neon_compose.pageserver.redoing import RedoJobs
from neon_compose.pageserver.restoring import Restoring
from neon_compose.pageserver.sizes import Sizes
from neon_compose.pageserver.tending import Tending
from neon_compose.postgres.versions import Version


@dataclass(frozen=True)
class Parts:
    name: str
    store: LocalStore
    scratch: Path
    version: Version
    birth: Birth
    fetches: Fetches
    branches: Branches
    claims: Claims
    computes: Computes
    sizes: Sizes
    known_settings: frozenset[str]
    restoring: Restoring
    recovering: Recovering
    chronicle: Chronicle
    deleting: Deleting
    differ: Differ
    warm_up: Callable[[], None]  # loads what the first branch will ask for
    tending: Tending | None = None  # None: there are no safekeepers
    archiving: Archiving | None = None  # as tending
    redo: RedoJobs | None = None
