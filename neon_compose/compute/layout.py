"""Laying out PGDATA over a tip: a thousand sparse files in the time of one container create.

Owns `Tip` (all a layout needs of a layer stack, in memory), `lay_out`, at the tip's end or at a moment after
it (moment.py), and `ready_again` (before every later start). Does not sync: the marker (marker.py) says when
everything is on disk.

Budget 35 ms at 1,000 relation files: every file costs an openat, an ftruncate and a close relative to
its folder's descriptor, about 8 us; nothing is read from disk but what the page cache holds anyway.

kill -9 at any step leaves the stage PREPARED, and the next layout begins by removing what it finds.
Under LAID_OUT everything is there: the record is renamed into place after the last file was made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neon_compose.compute.moment import Moment, lay_wal
from neon_compose.compute.paths import ComputePaths
from neon_compose.errors import Bug, Conflict, Corrupt
from neon_compose.layer.branchmap import BranchMap, Folder, MapHeader
from neon_compose.layer.meta import MetaEntry
from neon_compose.layer.overlay import create_overlay
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.cut import Cut

CONTROL = "global/pg_control"
CONTROL_ON_DISK = "pg_control.neon"
_WAL = "pg_wal/"

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700


@dataclass(frozen=True)
class Tip:
    """A layer stack ready to be laid out any number of times."""

    map_header: MapHeader
    layers: tuple[UUID, ...]  # bottom to top
    end: Lsn  # the tip's consistent LSN
    relations: tuple[Folder, ...]
    folders: tuple[str, ...]  # every folder of PGDATA, parents first
    files: tuple[MetaEntry, ...]  # without pg_control
    control: ControlFile

    @property
    def tip(self) -> UUID:
        return self.map_header.tip

    @property
    def relation_files(self) -> int:
        return sum(len(folder.files) for folder in self.relations)

    @property
    def replays_at_end(self) -> bool:
        """Whether even its own end takes WAL to open: not that of a clean shutdown."""
        return self.control.state is not DbState.SHUT_DOWN

    def replays(self, cut: Cut | None) -> bool:
        """Whether opening it at the end of `cut`, or without one at its own end, takes recovery: a layer of a
        clean shutdown opens at its end as it is."""
        if not self.replays_at_end and (cut is None or cut.end == self.end):
            return False
        if cut is None:
            raise Bug(f"layer {self.tip} can be opened only with the WAL after it")
        return True

    def moment(self, paths: ComputePaths, end: Lsn) -> Moment:
        """Where recovery must end after a layout that replays."""
        return Moment(end, paths.wal, self.control.timeline, self.control.wal_segment_size)


def make_tip(branch_map: BranchMap, meta: Sequence[MetaEntry], end: Lsn) -> Tip:
    """What a map and the meta archive of its topmost layer say, in the order a layout needs it."""
    control = next(entry for entry in meta if entry.name == CONTROL)  # meta.decode insists on it
    folders = {entry.name for entry in meta if entry.is_folder}
    folders |= {folder.path for folder in branch_map.folders}
    parents = {parent for name in folders | {entry.name for entry in meta} for parent in _parents(name)}
    return Tip(
        map_header=branch_map.header,
        layers=tuple(layer for layer, _ in branch_map.layers),
        end=end,
        relations=branch_map.folders,
        folders=tuple(sorted(folders | parents, key=lambda path: (path.count("/"), path))),
        files=tuple(entry for entry in meta if not entry.is_folder and entry is not control),
        control=ControlFile.parse(control.data, f"{branch_map.header.tip}: {CONTROL}"),
    )


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def lay_out(paths: ComputePaths, tip: Tip, branch_id: UUID, cut: Cut | None = None) -> None:
    """Make data/, run/ and the overlay; whatever an unfinished layout left there goes first.

    Opens at the tip's end, or where `cut` ends. Not durable on return, and not complete in the sense of
    Postgres: settings come after. Raises `Corrupt` for WAL that is missing or not of this tip's history.
    """
    replayed = cut if tip.replays(cut) else None
    _lay_out(paths, tip, branch_id, replayed, tip.control.for_crash_recovery() if replayed else tip.control)


def lay_out_for_redo(paths: ComputePaths, tip: Tip, branch_id: UUID, cut: Cut) -> None:
    """As `lay_out`, for a server that replays the WAL of `cut` and stops in recovery (pageserver.redo). Its
    pg_control is the tip's own: that says from where on what it replayed is consistent."""
    _lay_out(paths, tip, branch_id, cut, tip.control)


def _lay_out(paths: ComputePaths, tip: Tip, branch_id: UUID, cut: Cut | None, control: ControlFile) -> None:
    clear(paths)
    paths.data.mkdir(_PRIVATE_FOLDER)
    paths.run.mkdir(_PRIVATE_FOLDER, exist_ok=True)
    with _folder(paths.data) as root:
        for name in tip.folders:
            os.mkdir(name, _PRIVATE_FOLDER, dir_fd=root)
        for file in tip.files:
            if cut is None or not file.name.startswith(_WAL):
                _write(root, file.name, file.data)
        for folder in tip.relations:
            _make_relations(root, folder)
        if cut is not None:
            own = {one.name.removeprefix(_WAL): one.data for one in tip.files if one.name.startswith(_WAL)}
            lay_wal(paths.wal, cut, tip.control, tip.end, own)
        _write(root, f"global/{CONTROL_ON_DISK}", control.raw)
    create_overlay(paths.overlay, tip.map_header, branch_id)


def clear(paths: ComputePaths) -> None:
    """Remove everything a layout makes, in an order that never leaves a marker over half a layout."""
    paths.marker.unlink(missing_ok=True)
    paths.overlay.unlink(missing_ok=True)
    if paths.data.exists():
        shutil.rmtree(paths.data)
    if paths.run.exists():
        shutil.rmtree(paths.run)


def _make_relations(root: int, folder: Folder) -> None:
    here = os.open(folder.path, _FOLDER, dir_fd=root)
    try:
        open_file, truncate, close = os.open, os.ftruncate, os.close
        for name, size_bytes in folder.files:
            fd = open_file(name, _CREATE, _PRIVATE_FILE, dir_fd=here)
            if size_bytes:
                truncate(fd, size_bytes)
            close(fd)
    finally:
        os.close(here)


def _write(root: int, name: str, content: bytes) -> None:
    fd = os.open(name, _CREATE, _PRIVATE_FILE, dir_fd=root)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, _FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


# ---- before a later start ------------------------------------------------------------------------


@contextmanager
def nobody_else(paths: ComputePaths, pg: str) -> Iterator[None]:
    """Hold the overlay as the shim does, so that no postmaster runs on this data meanwhile.

    Raises `Conflict` when one does: its processes, backends too, inherit the lock from the postmaster.
    """
    try:
        fd = os.open(paths.overlay, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # not laid out, so nothing can run on it: the shim needs an overlay
        yield
        return
    try:
        _lock(fd, pg)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, pg: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(
            f'pg "{pg}" is running',
            detail="Its processes hold its data.",
            hint=f"Stop it first: neon-compose pg stop -n {pg}",
            code="running",
        ) from error


def ready_again(paths: ComputePaths) -> ControlFile:
    """What pg_control promises for the next start, after removing what a killed server left behind.

    postmaster.pid names a process of another pid namespace: Postgres would take whoever has that number
    for its predecessor. Only called under `nobody_else`. Raises `Corrupt`.
    """
    (paths.data / "postmaster.pid").unlink(missing_ok=True)
    for leftover in paths.run.glob(".s.PGSQL.*"):
        leftover.unlink()
    try:
        return ControlFile.read(paths.control)
    except OSError as error:
        raise Corrupt("the compute's pg_control can't be read", detail=str(error)) from error


# ---- tips in memory ------------------------------------------------------------------------------


class Tips:
    """The last few tips that were used; `load` makes one and is called without a lock held, so two
    first users may both load it: the same work twice, the same result."""

    def __init__(self, load: Callable[[UUID, Sequence[UUID]], Tip], keep: int = 8) -> None:
        self._load = load
        self._keep = keep
        self._tips: dict[UUID, Tip] = {}

    def get(self, layers: Sequence[UUID]) -> Tip:
        """The tip of a stack of layers, bottom to top; what lies below its image is of no account."""
        tip = layers[-1]
        found = self._tips.pop(tip, None) or self._load(tip, layers)
        self._tips[tip] = found  # last in order: most recently used
        while len(self._tips) > self._keep:
            self._tips.pop(next(iter(self._tips)), None)
        return found
