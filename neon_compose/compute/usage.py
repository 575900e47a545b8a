"""How much disk is a compute's own, without walking its thousand files each time anybody looks.

A walk is repeated when the WAL, pg_control, the overlay or a folder of PGDATA has changed: every
checkpoint changes the first three, and every file that comes or goes its folder. So the number is never
older than the last checkpoint; blocks that Postgres wrote since are counted at the next one. Nothing is
decided by it, unlike `has_writes`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from neon_compose import wait
from neon_compose.compute.paths import ComputePaths
from neon_compose.compute.stamps import Stamp, Stamps, age_ns, stamp, stamps_in


class OwnBytes:
    """Answers `of`, remembering the last answer per generation until its files change. `walk` and `now_ns`
    are seams: tests count the one and set the other."""

    def __init__(
        self, walk: Callable[[Path], int] | None = None, now_ns: Callable[[], int] = wait.now_ns
    ) -> None:
        self._walk = walk or allocated_bytes
        self._now_ns = now_ns
        self._seen: dict[Path, tuple[Stamps, int]] = {}

    def of(self, paths: ComputePaths) -> int:
        """Allocated bytes below the generation's folder."""
        began_ns = self._now_ns()
        now = _signature(paths)
        before = self._seen.get(paths.root)
        if before is not None and before[0] == now:
            return before[1]
        found = self._walk(paths.root)
        if age_ns(now, began_ns) > 0:
            self._seen[paths.root] = (now, found)
        return found

    def forget(self, paths: ComputePaths) -> None:
        self._seen.pop(paths.root, None)


def _signature(paths: ComputePaths) -> Stamps:
    """Of few files, since this is asked of every compute whenever all are listed."""
    root = str(paths.root)
    found: list[Stamp] = []
    for path in (root, f"{root}/overlay", f"{root}/data/global/pg_control.neon", f"{root}/data/global"):
        found += [one for one in (stamp(path),) if one is not None]
    for folder in (f"{root}/data/base", f"{root}/data/pg_wal"):
        with suppress(FileNotFoundError):
            found += stamps_in(folder)
    return tuple(found)


def allocated_bytes(folder: Path) -> int:
    """Disk used below `folder`: blocks, not sizes, since relation files are sparse. Files that come and go
    meanwhile are counted or not."""
    total, pending = 0, [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    total += _entry_bytes(entry)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue
    return total


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0
