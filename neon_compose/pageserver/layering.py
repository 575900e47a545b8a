"""Putting together what makes layers and what removes them, and the settings of both.

NEON_REDO_BACKLOG_BYTES   WAL after a branch's newest layer that makes another one (64 MiB)
NEON_HISTORY_SECONDS      how long ago the moments lie that stay open (7 days)
NEON_HISTORY_BYTES        and how much WAL back (10 GiB)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from neon_compose import settings
from neon_compose.compute.layout import Tips
from neon_compose.objectstore import manifests
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.archive import Archive
from neon_compose.pageserver.collecting import Collector, Window, layers_in_use
from neon_compose.pageserver.generations import Generations
from neon_compose.pageserver.growing import Growth
from neon_compose.pageserver.redo import Redo
from neon_compose.pageserver.redoing import Limits, RedoJobs, WalToReplay
from neon_compose.pageserver.unneeded import UnneededWal


def redo_jobs(
    store: ObjectStore,
    tips: Tips,
    ages: Ages,
    generations: Generations,
    work: Path,
    job: Redo,
    archive: Archive,
    wal: WalToReplay | None,
    visited: Callable[[], Iterable[UUID]],
) -> RedoJobs | None:
    """What looks after the layers of all branches, None if no WAL comes here; removes first what a dead
    pageserver was making. `visited` are layers that are being read now."""
    notes = [work / name for name in ("growing", "dropping")]
    for folder in notes:
        folder.mkdir(mode=0o700, exist_ok=True)
    growth = Growth(
        store=store,
        tips=tips,
        ages=ages,
        maps=job.maps,
        notes=notes[0],
        replay=job.run,
    )
    growth.sweep()
    if wal is None:
        return None
    collector = Collector(
        store,
        ages,
        in_use=lambda: _in_use(generations, visited),
        is_ours=lambda writer: generations.has(writer.pg, writer.generation),
        notes=notes[1],
        maps=job.maps,
        window=_window(),
        wal=UnneededWal(archive, tips),
    )
    return RedoJobs(lambda: manifests.list_branches(store), wal, growth, _limits(), collector)


def _in_use(generations: Generations, visited: Callable[[], Iterable[UUID]]) -> set[UUID] | None:
    known = layers_in_use(generations)
    return None if known is None else known.union(visited())


def _limits() -> Limits:
    backlog = settings.text("NEON_REDO_BACKLOG_BYTES")
    return Limits(backlog=int(backlog)) if backlog else Limits()


def _window() -> Window:
    usual = Window()
    age, wal = settings.text("NEON_HISTORY_SECONDS"), settings.text("NEON_HISTORY_BYTES")
    return Window(timedelta(seconds=float(age)) if age else usual.age, int(wal) if wal else usual.wal_bytes)
