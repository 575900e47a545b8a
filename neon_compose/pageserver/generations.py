"""The compute directories in the work volume: finding, making and discarding generations.

    /work/pg/<pg>/<generation>/      at most one is a pg's: the one its branch's manifest names as writer

Crash argument for the three steps of a new pg: the folder, the claim in the manifest, compute.json.
    killed after the folder   nobody names it; the next prepare removes or reuses it
    after the claim           folder without compute.json or data/: PREPARED, compute.json is written anew
And for deleting: the claim is cleared first, then the folder goes to scratch by rename.
    killed in between         the folder is there and nobody names it; it holds what was told to be discarded,
                              but a restored older storage looks the same, so only a delete removes it once
                              it was OPENED
A generation the manifest names but that isn't there is a lost volume: the writes it had are lost with it,
so that is an error and never a fresh start (DESIGN 3.3).
"""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from neon_compose.compute import record as records
from neon_compose.compute.paths import ComputePaths, is_generation
from neon_compose.compute.record import Record, Stage
from neon_compose.compute.writes import WriteScan
from neon_compose.durable import abandoned, sync_folder
from neon_compose.durable import sweep as durable_sweep
from neon_compose.errors import Conflict, Corrupt
from neon_compose.model.lsn import Lsn


@dataclass(frozen=True)
class Generation:
    """One folder on disk. `record` is None while nothing was ever laid out in it."""

    pg: str
    id: str
    paths: ComputePaths
    record: Record | None


class Generations:
    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self._scratch = scratch

    def of(self, pg: str) -> list[Generation]:
        """What is on disk of a pg, usually one. Raises `Conflict` code "doubtful" for a folder with data
        whose compute.json is lost or torn: a power cut came before anything was synced."""
        return [self.read(pg, name) for name in self.ids(pg)]

    def ids(self, pg: str) -> list[str]:
        """The folders of a pg, readable or not."""
        try:
            return sorted(path.name for path in (self.root / pg).iterdir() if is_generation(path.name))
        except FileNotFoundError:
            return []

    def has(self, pg: str, generation: str) -> bool:
        return self.paths(pg, generation).root.is_dir()

    def pgs(self) -> list[str]:
        """Names of the pgs that have a folder."""
        try:
            return sorted(path.name for path in self.root.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []

    def paths(self, pg: str, generation: str) -> ComputePaths:
        return ComputePaths(self.root / pg / generation)

    def read(self, pg: str, generation: str) -> Generation:
        paths = self.paths(pg, generation)
        try:
            record = records.read(paths.record)
        except Corrupt as error:
            raise doubtful(pg) from error
        if record is None and paths.data.exists():
            raise doubtful(pg)
        return Generation(pg, generation, paths, record)

    def make(self, pg: str, generation: str) -> Generation:
        """An empty folder. Durable on return: a manifest that names it will be."""
        paths = self.paths(pg, generation)
        with suppress(FileExistsError):
            paths.root.parent.mkdir(mode=0o700)
        paths.root.mkdir(mode=0o700)
        sync_folder(paths.root.parent)  # file systems with a journal write both names with the first
        sync_folder(self.root)
        return Generation(pg, generation, paths, None)

    def half_written(self, pg: str) -> list[Path]:
        """Files aside whose writer died; only a pageserver writes such, and removes them at its start."""
        return [path for folder in self._written(pg) for path in abandoned(folder)]

    def sweep(self, pg: str) -> None:
        """Remove the pg's files aside, and its folder if there is nothing in it."""
        for folder in self._written(pg):
            durable_sweep(folder)
        with suppress(OSError):
            (self.root / pg).rmdir()

    def _written(self, pg: str) -> list[Path]:
        """The folders of a pg in which files are written aside."""
        found = [self.paths(pg, name) for name in self.ids(pg)]
        return [folder for paths in found for folder in (paths.root, paths.data) if folder.is_dir()]

    def discard(self, pg: str, generation: str) -> None:
        """Take the folder out of sight in one step, then remove it; a start removes what is left."""
        target = self._scratch / f"discarded-{pg}-{generation}-{secrets.token_hex(4)}"
        self.paths(pg, generation).root.rename(target)
        with suppress(OSError):  # another generation is there
            (self.root / pg).rmdir()
        shutil.rmtree(target, ignore_errors=True)

    def discard_for_good(self, pg: str, generation: str) -> None:
        """As `discard`, and durable on return: no power cut brings it back. Repeat is success."""
        if self.has(pg, generation):
            self.discard(pg, generation)
        with suppress(FileNotFoundError):  # it was the last one
            sync_folder(self.root / pg)
        sync_folder(self.root)

    def discard_all(self, pg: str) -> None:
        """Everything of a pg, readable or not."""
        folder = self.root / pg
        if folder.exists():
            target = self._scratch / f"discarded-{pg}-{secrets.token_hex(4)}"
            folder.rename(target)
            shutil.rmtree(target, ignore_errors=True)


def doubtful(pg: str) -> Conflict:
    """The machine went down before a new compute's files were on disk, and clients may have written."""
    return Conflict(
        f'the data of pg "{pg}" is doubtful',
        detail="The machine restarted before its files were known to be on disk; under durability local "
        "there is no other copy of its writes.",
        hint=f"Make it anew from its branch: neon-compose pg destroy {pg} --discard-writes, then pg create.",
        code="doubtful",
    )


def lost(pg: str) -> Conflict:
    return Conflict(
        f'the data of pg "{pg}" is gone',
        detail="Its branch names a data directory that the work volume doesn't hold; under durability local "
        "there is no other copy of its writes.",
        hint=f"Give them up: neon-compose pg destroy {pg} --discard-writes",
        code="data_lost",
    )


def only_copy(pg: str) -> Conflict:
    return Conflict(
        f'the data of pg "{pg}" may be the only copy of its writes',
        detail="No safekeeper is known to have all that it acknowledged.",
        hint="Run it under durability quorum first, or destroy it.",
        code="only_copy",
    )


def unclaimed(pg: str) -> Conflict:
    return Conflict(
        f'pg "{pg}" has data here that its branch does not name',
        detail="Clients wrote to it once. An older copy of the storage came back, or a destroy was cut off.",
        hint=f"Remove it: neon-compose pg destroy {pg} --discard-writes",
        code="unclaimed",
    )


def has_writes(scan: WriteScan, generation: Generation) -> bool:
    """Whether its WAL holds a commit. Asked of the WAL also where the record says that nobody was let in:
    a power cut may have set the record back, while every commit was synced."""
    record = generation.record
    if record is None or record.stage < Stage.LAID_OUT:
        return False
    return scan.has_writes(generation.paths.wal, Lsn.parse(record.start_lsn))


def may_have_writes(scan: WriteScan, generation: Generation) -> bool:
    """Whether clients were ever let in, as far as record and WAL can tell."""
    opened = generation.record is not None and generation.record.stage is Stage.OPENED
    return opened or has_writes(scan, generation)
