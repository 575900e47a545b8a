"""A stopped PGDATA as a layer sees it: what is a relation segment, what goes into the meta archive, what not.

Owns the rules of what a layer leaves out; reads names, sizes, pg_control and one WAL record, no pages.
Invariant: what it returns is the whole of a cleanly shut down cluster; anything it can't be sure of is
refused, by name.

Left out, because Postgres makes it anew or because it belongs to one server and not to its data:
configuration (postgresql*.conf, pg_hba, pg_ident) and everything else at the top that is not Postgres's
data; pg_internal.init (a cache), pg_stat_tmp, pgsql_tmp, pg_dynshmem, pg_notify, pg_serial, pg_snapshots,
pg_subtrans (reset at start), pg_replslot, pg_logical/{snapshots,mappings} (slots don't survive), WAL but
the segments of the checkpoint, temporary relations (removed at start), and pg_stat, as after a crash: by
what one server counted, autovacuum would go to work in every new branch, and its commits are writes.

Unlogged relations: after a crash Postgres copies each _init fork over the main fork and removes the rest
(ResetUnloggedRelations). A layer of a clean shutdown opens with state "shut down", for which Postgres
does not do that; so it is done here. An unlogged table is empty in every branch.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.layer.keys import BLOCK, BLOCKS_PER_SEGMENT, Fork, SegmentKey, is_temporary
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.wal import read_record, segments_between

_TOP = {
    *("PG_VERSION", "base", "global", "pg_wal", "pg_xact", "pg_multixact", "pg_commit_ts", "pg_subtrans"),
    *("pg_twophase", "pg_logical", "pg_replslot", "pg_notify", "pg_serial", "pg_snapshots", "pg_dynshmem"),
    *("pg_stat", "pg_stat_tmp", "pg_tblspc"),
}
_EMPTIED = {
    *("pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp"),
    *("pg_subtrans",),
    *("pg_logical/snapshots", "pg_logical/mappings", "pg_wal/archive_status", "pg_wal/summaries"),
}
_UNFINISHED = ("backup_label", "recovery.signal", "standby.signal", "postmaster.pid")


@dataclass(frozen=True)
class CleanStop:
    """Where a cleanly shut down cluster ended: its checkpoint record is [redo, end)."""

    control: ControlFile
    redo: Lsn
    end: Lsn

    @property
    def wal_files(self) -> list[str]:
        """The segments that recovery reads, names in pg_wal."""
        return segments_between(self.control.timeline, self.redo, self.end, self.control.wal_segment_size)


@dataclass(frozen=True)
class Cluster:
    stop: CleanStop
    segments: dict[SegmentKey, Path]  # ascending; the file with the segment's content
    sizes: dict[SegmentKey, int]  # bytes
    folders: list[str]  # relative to PGDATA, parents first
    files: list[str]  # relative, for the meta archive


def read_clean_stop(pgdata: Path) -> CleanStop:
    """Where the cluster in `pgdata` was shut down.

    Raises `Conflict` code "not_shut_down" unless it was shut down cleanly, `Corrupt` if its checkpoint
    record is not in pg_wal or its pg_control is damaged.
    """
    try:
        control = ControlFile.read(pgdata / "global" / "pg_control")
    except (FileNotFoundError, NotADirectoryError):
        raise Invalid(
            f'"{pgdata}" is not a Postgres data directory',
            detail="It has no global/pg_control.",
            code="not_pgdata",
        ) from None
    _check_finished(pgdata, control)
    record = read_record(pgdata / "pg_wal", control.timeline, control.checkpoint, control.wal_segment_size)
    if not record.is_shutdown_checkpoint or control.redo != control.checkpoint:
        raise Corrupt(
            f'pg_control of "{pgdata}" does not point to a shutdown checkpoint',
            detail=f"The record at {control.checkpoint} is of another kind, or redo {control.redo} differs.",
        )
    return CleanStop(control, control.redo, record.end)


def scan(pgdata: Path) -> Cluster:
    """Everything of `pgdata` that goes into an image layer. Raises as `read_clean_stop`, and `Invalid`
    for tablespaces, special files and relation files that are not whole pages."""
    stop = read_clean_stop(pgdata)
    found = contents(pgdata, stop.wal_files)
    segments = _reset_unlogged(found.segments)
    sizes = {key: size_of(key, path) for key, path in segments.items()}
    return Cluster(stop, segments, sizes, found.folders, found.files)


@dataclass(frozen=True)
class Contents:
    """What a layer keeps of a PGDATA; folders and files relative to it, parents first, without relations."""

    segments: dict[SegmentKey, Path]
    folders: list[str]
    files: list[str]


def contents(pgdata: Path, wal_files: Iterable[str]) -> Contents:
    """What there is in `pgdata` by name, of its WAL only `wal_files`. Raises `Invalid` as `scan`."""
    _check_no_tablespaces(pgdata)
    found = Contents({}, [], [])
    for name, is_folder in _walk(pgdata, frozenset(wal_files)):
        key = None if is_folder else SegmentKey.parse(name)
        if key is not None:
            found.segments[key] = pgdata / name
        else:
            (found.folders if is_folder else found.files).append(name)
    found.files.sort()
    return found


def _check_finished(pgdata: Path, control: ControlFile) -> None:
    left = [name for name in _UNFINISHED if (pgdata / name).exists()]
    if control.state is DbState.SHUT_DOWN and not left:
        return
    why = f"Its state is {control.state.words!r}." if not left else f"It holds {', '.join(left)}."
    raise Conflict(
        f'"{pgdata}" was not shut down cleanly',
        detail=why,
        hint="Start it once with Postgres and stop it (pg_ctl stop -m fast).",
        code="not_shut_down",
    )


def _check_no_tablespaces(pgdata: Path) -> None:
    spaces = sorted(entry.name for entry in _entries(pgdata / "pg_tblspc"))
    if spaces:
        raise Invalid(
            f'"{pgdata}" has tablespaces',
            detail=f"pg_tblspc holds {', '.join(spaces[:5])}.",
            hint="Move their tables to pg_default and drop them first.",
            code="tablespaces",
        )


def _walk(pgdata: Path, wal: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """(relative path, is a folder) of what a layer keeps; parents first, names sorted."""
    for entry in _entries(pgdata):
        if entry.name in _TOP:
            yield from _visit(entry, entry.name, wal)


def _visit(entry: os.DirEntry[str], name: str, wal: frozenset[str]) -> Iterator[tuple[str, bool]]:
    # pg_wal may be a link to another disk (initdb --waldir); nothing else in PGDATA may be.
    mode = entry.stat(follow_symlinks=name == "pg_wal").st_mode
    if stat.S_ISREG(mode):
        if not _left_out(name, entry.name, wal):
            yield name, False
    elif not stat.S_ISDIR(mode):
        raise Invalid(
            f'"{entry.path}" is neither a file nor a folder',
            detail="A layer can't hold links or special files.",
            code="special_file",
        )
    elif not entry.name.startswith("pgsql_tmp"):
        yield name, True
        if name not in _EMPTIED:
            for below in _entries(Path(entry.path)):
                yield from _visit(below, f"{name}/{below.name}", wal)


def _left_out(path: str, name: str, wal: frozenset[str]) -> bool:
    if path.startswith("pg_wal/"):
        return name not in wal
    if path.startswith(("base/", "global/")):
        return name.startswith(("pg_internal.init", "pgsql_tmp")) or is_temporary(name)
    return False


def _reset_unlogged(found: dict[SegmentKey, Path]) -> dict[SegmentKey, Path]:
    """What ResetUnloggedRelations does: init forks over main forks, nothing else of those relations."""
    inits = {key: path for key, path in found.items() if key.fork == Fork.INIT}
    unlogged = {key.relation for key in inits}
    kept = {key: path for key, path in found.items() if key.relation not in unlogged}
    kept |= inits
    kept |= {key._replace(fork=Fork.MAIN.value): path for key, path in inits.items()}
    return dict(sorted(kept.items()))


def size_of(key: SegmentKey, path: Path) -> int:
    """Its size in bytes. Raises `Invalid` unless it is whole pages."""
    size = path.stat().st_size
    if size % BLOCK or size > BLOCKS_PER_SEGMENT * BLOCK:
        raise Invalid(
            f'"{path}" is not whole pages',
            detail=f"It has {size} bytes; {key.path()} must be a multiple of {BLOCK}, at most 1 GiB.",
            code="torn_relation",
        )
    return size


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
