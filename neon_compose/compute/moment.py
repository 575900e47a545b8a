"""Opening a branch at a moment: a layer, the WAL after it cut at the moment, and upstream's crash recovery.

Owns what a layout puts into pg_wal and pg_control for that (DESIGN 6), and the proof that recovery went all
the way. Does not choose the layer or the moment, and does not walk the WAL.

pg_control says "shut down in recovery" with no minimum recovery point: Postgres then replays from the layer's
redo LSN as after a crash, on the same timeline, without syncing the whole data directory first.

Proof. Crash recovery takes a damaged record for the end of WAL: it opens short of the moment, with one line
in the log. But it ends with a checkpoint of the kind "shutdown" where it stopped reading, and no other record
of that kind is written before the server is told to stop. Behind the moment the layout left only zeros. So in
the first run over a layout such a record at the moment is that of a recovery that came exactly so far. That
holds for the first run only, hence `Record.unproven`: what was started and did not open is laid out anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import Bug, Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.cut import Cut, copy_cut
from neon_compose.postgres.wal import after_page_header, read_record, segment_name, segments_between


@dataclass(frozen=True)
class Moment:
    """Where the first recovery over a layout has to end, and the pg_wal that says where it did."""

    end: Lsn
    pg_wal: Path
    timeline: int
    segment_size: int

    @property
    def checkpoint(self) -> Lsn:
        """Where the record begins that ends a recovery up to the moment."""
        return after_page_header(self.end, self.segment_size)

    def was_reached(self) -> bool:
        """Whether recovery ended here; asked while the first server over the layout runs."""
        try:
            found = read_record(self.pg_wal, self.timeline, self.checkpoint, self.segment_size)
        except Corrupt:
            return False
        return found.is_shutdown_checkpoint


def lay_wal(pg_wal: Path, cut: Cut, control: ControlFile, layer_end: Lsn, own: Mapping[str, bytes]) -> None:
    """Put the WAL that leads from a layer to the end of `cut` into the folder `pg_wal`.

    `control` and `own`, the segments by name, are what the layer came with. Raises `Corrupt` if a segment is
    missing or the WAL is of another history than the layer, `Bug` for a moment before the layer's end.
    """
    if cut.end < layer_end:
        raise Bug(f"a layer that ends at {layer_end} can't be opened at {cut.end}")
    _check_history(cut, control, layer_end, own)
    copy_cut(cut, pg_wal, control.timeline, control.redo, control.wal_segment_size)


def _check_history(cut: Cut, control: ControlFile, layer_end: Lsn, own: Mapping[str, bytes]) -> None:
    """Nothing else tells two histories on one timeline apart: the bytes that both have must be equal."""
    timeline, size = control.timeline, control.wal_segment_size
    read_record(cut.folder, timeline, control.checkpoint, size)
    for name in segments_between(timeline, control.redo, layer_end, size):
        if name in own:
            first = control.redo.value % size if name == segment_name(timeline, control.redo, size) else 0
            last = (layer_end.value - 1) % size + 1 if name == _last(timeline, layer_end, size) else size
            with (cut.folder / name).open("rb") as file:
                file.seek(first)
                if file.read(last - first) != own[name][first:last]:
                    raise _foreign(cut, name)


def _last(timeline: int, end: Lsn, segment_size: int) -> str:
    return segment_name(timeline, Lsn(end.value - 1), segment_size)


def _foreign(cut: Cut, name: str) -> Corrupt:
    return Corrupt(
        f'WAL segment "{name}" is not of the history the layer is of',
        detail=f'Up to the layer\'s end it differs from what the layer came with. Read from "{cut.folder}".',
    )
