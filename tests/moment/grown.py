"""The world's layer as a storage whose main has a parent's WAL: jobs that replay it, what removes layers, and
its moments."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

from neon_compose import wait
from neon_compose.compute.layout import Tips
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, StorageDoc
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.__main__ import load_tip
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.collecting import Collector, Window
from neon_compose.pageserver.growing import Grown, Growth
from neon_compose.pageserver.moments import Moments
from neon_compose.pageserver.redo import Redo
from neon_compose.pageserver.redoing import Limits, RedoJobs
from neon_compose.pageserver.unneeded import needed_wal
from neon_compose.pageserver.wal import Committed
from neon_compose.pageserver.walrecords import WalRecords
from neon_compose.postgres.versions import version
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import walk
from neon_compose.terms.history import History, TermStart
from neon_compose.terms.register import Decided, new_register
from tests.moment.world import LAYER, STORAGE, World

_DEEPEST = 2


@dataclass
class Wal:
    """The parent's, as far as it is said to be committed."""

    folder: WalFolder
    tips: Tips
    upto_lsn: Lsn

    def commit_lsn(self, _: Manifest) -> Lsn:
        return self.upto_lsn

    def committed(self, manifest: Manifest) -> Committed:
        return self.upto(manifest, self.upto_lsn)

    def end(self, manifest: Manifest) -> Lsn:
        return self.committed(manifest).end

    def upto(self, manifest: Manifest, end: Lsn) -> Committed:
        redo = self.tips.get(manifest.layers).control.redo
        found = walk(version(17), self.folder, redo, known=end, upto=end)
        return Committed(self.folder, redo, found.end, found.last_record, found.last_checkpoint)


class Branch:
    """`main` of the storage, over the one layer that `World.make` packed."""

    def __init__(self, world: World, home: Path, wal: Path, since: datetime) -> None:
        self.home = home
        self.maps = world.maps
        self.store = LocalStore(home)
        self.ages = Ages(self.store)
        self.tips = Tips(lambda tip, layers: load_tip(self.store, world.maps, tip, layers))
        tip = world.tip()
        for name in ("growing", "dropping", "scratch"):
            (home / name).mkdir()
        layers = self.store.local_path("layers")
        self.growth = Growth(
            self.store,
            self.tips,
            self.ages,
            world.maps,
            home / "growing",
            Redo(version(17), world.shim, world.maps, layers, home / "scratch").run,
        )
        folder = WalFolder(wal, tip.control.timeline, tip.control.wal_segment_size)
        self.wal = Wal(folder, self.tips, tip.end)
        doc = StorageDoc(STORAGE, 17, tip.control.system_identifier, "postgres", "secret", wait.now())
        manifests.create_storage(self.store, doc, layers=(LAYER,), snapshot="init", lsn=tip.end)
        decided = Decided(History((TermStart(1, tip.end),)), (uuid4(),))
        register = replace(new_register(1), decided=decided)
        main = self.main().branch_id
        manifests.update_manifest(
            self.store, main, lambda found: replace(found, created=since, register=register)
        )
        end_of: Callable[[tuple[UUID, ...]], Lsn] = self.ages.end
        self.moments = Moments(self.store, end_of, lambda _: False, self.wal, WalRecords(version(17)))
        limits = Limits(deepest=_DEEPEST)
        self.jobs = RedoJobs(lambda: [self.main()], self.wal, self.growth, limits)

    def main(self) -> Manifest:
        return manifests.read_branch(self.store, manifests.MAIN)

    def redo(self, end: Lsn) -> list[Grown]:
        """What was made of the WAL up to `end`."""
        self.wal.upto_lsn = end
        return self.jobs.now(self.main(), self.main, lambda: None)

    def collect(self, window: Window) -> None:
        """Layers that no moment needs are gone, with their files."""
        Collector(
            self.store,
            self.ages,
            set,
            lambda _: True,
            self.home / "dropping",
            self.maps,
            window,
            pause_s=0,
        ).collect()

    def drop_wal(self, since: Lsn) -> int:
        """How many segments are gone that no pinned moment needs, and none from `since` on."""
        main = self.main()
        pins = (one.lsn for one in main.pins)
        stretches = needed_wal(self.ages.of(main.layers), pins, since, self._redo)
        dropped = 0
        for number, path in self.wal.folder.files().items():
            begin, end = self.wal.folder.begin(number), self.wal.folder.begin(number + 1)
            if not any(begin < stop and start < end for start, stop in stretches):
                path.unlink()
                dropped += 1
        return dropped

    def _redo(self, layers: tuple[UUID, ...]) -> Lsn:
        return self.tips.get(layers).control.redo


@contextmanager
def grown(world: World, wal: Path | None = None, since: datetime | None = None) -> Iterator[Branch]:
    """In a folder of its own, but for layers and maps, which servers find in one place. `wal` is a parent's
    who lived on the world's layer, `since` when that began."""
    home = world.home / "grown"
    home.mkdir()
    (home / "layers").symlink_to(world.layers)
    try:
        yield Branch(world, home, wal or world.wal, since or wait.now())
    finally:
        shutil.rmtree(home)
