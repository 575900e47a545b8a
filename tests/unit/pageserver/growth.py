"""Branches that get new layers without Postgres: replays make empty deltas, of WAL that is only said."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from neon_compose.compute.layout import CONTROL, Tip, Tips
from neon_compose.layer import meta
from neon_compose.layer.index import Kind, read_index, write_index
from neon_compose.layer.pack import LayerFiles
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.local import LocalStore
from neon_compose.pageserver.__main__ import load_tip
from neon_compose.pageserver.ages import Ages
from neon_compose.pageserver.growing import Growth, Watch
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.walfolder import WalFolder


def add_delta(
    folder: Path, under: UUID, layer: UUID, consistent: Lsn, control: ControlFile | None = None
) -> LayerFiles:
    """A delta layer that changes nothing, but for pg_control if it is given."""
    below, made = LayerFiles.of(folder, under), LayerFiles.of(folder, layer)
    found = read_index(below.index)
    made.pages.touch()
    entries = meta.read_tar_cached(below.meta)
    changed = [one._replace(data=control.raw) if control and one.name == CONTROL else one for one in entries]
    with made.meta.open("wb") as file:
        meta.encode(changed, file)
    empty = replace(found, pages=0, segments=(), dropped=(), page_crcs=array("I"), content_hash=bytes(16))
    write_index(replace(empty, layer_id=layer, kind=Kind.DELTA, consistent=consistent), made.index)
    return made


@dataclass(frozen=True)
class Said:
    """Committed WAL up to `end`, whose last record is a checkpoint's, or has none."""

    end: Lsn
    has_checkpoint: bool = True
    folder: WalFolder = field(default_factory=lambda: WalFolder(Path("/nowhere"), 1, 4 << 20))

    @property
    def last_record(self) -> Lsn:
        return Lsn(self.end.value - 8)

    @property
    def last_checkpoint(self) -> Lsn | None:
        return self.last_record if self.has_checkpoint else None


@dataclass
class FakeWal:
    """`ends` are the commit LSNs of the branches that have WAL."""

    ends: dict[UUID, Lsn] = field(default_factory=dict)
    asked: list[UUID] = field(default_factory=list)  # whose WAL was fetched
    failure: Exception | None = None
    has_checkpoint: bool = True

    def commit_lsn(self, manifest: Manifest) -> Lsn | None:
        return self.ends.get(manifest.branch_id)

    def committed(self, manifest: Manifest) -> Said:
        self.asked.append(manifest.branch_id)
        if self.failure is not None:
            raise self.failure
        return Said(self.ends[manifest.branch_id], self.has_checkpoint)


@dataclass
class FakeReplay:
    folder: Path
    finds_checkpoint: bool = True
    during: Callable[[Tip, UUID, Watch], object] = lambda *_: None
    done: list[Lsn] = field(default_factory=list)

    def __call__(self, tip: Tip, cut: Cut, last: Lsn, layer: UUID, watch: Watch) -> LayerFiles | None:
        assert last < cut.end
        self.done.append(cut.end)
        self.during(tip, layer, watch)
        return add_delta(self.folder, tip.tip, layer, cut.end) if self.finds_checkpoint else None


@dataclass
class Place:
    """A storage and a growth over it, as after a start of the pageserver."""

    store: LocalStore
    work: Path

    def __post_init__(self) -> None:
        for name in ("maps", "growing"):
            (self.work / name).mkdir(exist_ok=True)
        self.layers = self.store.local_path("layers")
        self.ages = Ages(self.store)
        self.replay = FakeReplay(self.layers)
        maps = self.work / "maps"
        self.tips = Tips(lambda tip, layers: load_tip(self.store, maps, tip, layers))
        self.growth = Growth(self.store, self.tips, self.ages, maps, self.work / "growing", self.replay)
        self.growth.sweep()

    def main(self) -> Manifest:
        return manifests.read_branch(self.store, "main")

    def end(self) -> Lsn:
        """Of main's newest layer."""
        return self.ages.end(self.main().layers)

    def files(self) -> set[str]:
        """All layers and maps, by name."""
        folders = (self.layers, self.work / "maps", self.work / "growing")
        return {path.name for folder in folders for path in folder.iterdir()}
