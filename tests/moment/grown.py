"""The world's layer as a storage whose main has the parent's WAL, and jobs that replay it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neon_compose import wait
from neon_compose.compute.layout import Tips
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest, StorageDoc
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.__main__ import load_tip
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.growing import Grown, Growth
from neon_compose.pageserver.redo import Redo
from neon_compose.pageserver.redoing import Limits, RedoJobs
from neon_compose.postgres.versions import version
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.postgres.walk import walk
from tests.moment.world import LAYER, STORAGE, World

_DEEPEST = 2


@dataclass
class Wal:
    """The parent's, as far as it is said to be committed."""

    folder: WalFolder
    end: Lsn

    def commit_lsn(self, _: Manifest) -> Lsn:
        return self.end

    def committed(self, _: Manifest) -> Wal:
        return self


class Branch:
    """`main` of the storage, over the one layer that `World.make` packed."""

    def __init__(self, world: World, home: Path) -> None:
        self.store = LocalStore(home)
        self.ages = Ages(self.store)
        self.tips = Tips(lambda tip, layers: load_tip(self.store, world.maps, tip, layers))
        tip = world.tip()
        for name in ("growing", "scratch"):
            (home / name).mkdir()
        layers = self.store.local_path("layers")
        self.growth = Growth(
            self.store,
            self.tips,
            self.ages,
            world.maps,
            home / "growing",
            Redo(version(17), world.shim, world.maps, layers, home / "scratch").run,
            lambda wal, start, end: walk(version(17), wal, start, known=end, upto=end),
        )
        self.wal = Wal(WalFolder(world.wal, tip.control.timeline, tip.control.wal_segment_size), tip.end)
        doc = StorageDoc(STORAGE, 17, tip.control.system_identifier, "postgres", "secret", wait.now())
        manifests.create_storage(self.store, doc, layers=(LAYER,), snapshot="init", lsn=tip.end)
        limits = Limits(deepest=_DEEPEST)
        self.jobs = RedoJobs(lambda: [self.main()], self.wal, self.growth, limits)

    def main(self) -> Manifest:
        return manifests.read_branch(self.store, manifests.MAIN)

    def redo(self, end: Lsn) -> list[Grown]:
        """What was made of the WAL up to `end`."""
        self.wal.end = end
        return self.jobs.now(self.main(), self.main, lambda: None)


@contextmanager
def grown(world: World) -> Iterator[Branch]:
    """In a folder of its own, but for layers and maps, which servers find in one place."""
    home = world.home / "grown"
    home.mkdir()
    (home / "layers").symlink_to(world.layers)
    try:
        yield Branch(world, home)
    finally:
        shutil.rmtree(home)
