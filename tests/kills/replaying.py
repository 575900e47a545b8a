"""A redo job for cut.py: all of it but Postgres, for which scripts stand that do what it would leave."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.documents import Manifest
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.wal import record_end
from neon_compose.postgres.walfolder import WalFolder
from tests.unit.layer.pgdata import BLOCK, END, GOLDEN, REDO, WAL_FILE

SEGMENT = 4 << 20
_LENGTHS = {REDO: 114, END: 4000}  # of the checkpoint a layer ends with, and of a record after it
_LINE = "rmgr: XLOG len (rec/tot): {length}/ {length}, tx: 0, lsn: {start}, prev 0/28, desc: NOOP"
_SAID = "\n".join(_LINE.format(length=length, start=start) for start, length in _LENGTHS.items())
WALDUMP = f"cat <<'.'\n{_SAID}\n."
WAL_END = record_end(END, _LENGTHS[END], SEGMENT)


@dataclass(frozen=True)
class Wal:
    """Of main, if `prepare` was called for this folder."""

    folder: WalFolder
    end: Lsn
    last_record: Lsn = END
    last_checkpoint: Lsn = END  # as the replayed pg_control says

    @classmethod
    def of(cls, root: Path) -> Wal | None:
        wal = WalFolder(root / "wal", 1, SEGMENT)
        return cls(wal, WAL_END) if wal.path.exists() else None

    def commit_lsn(self, _: Manifest) -> Lsn:
        return self.end

    def committed(self, _: Manifest) -> Wal:
        return self


def prepare(root: Path) -> None:
    """WAL after the end of the layer, and a Postgres that replays it by changing its pg_control."""
    (root / "wal").mkdir()
    segment = bytearray(SEGMENT)
    page = (GOLDEN / "checkpoint_page.17").read_bytes()
    at = REDO.value % SEGMENT // BLOCK * BLOCK
    segment[at : at + len(page)] = page
    end = END.value % SEGMENT
    segment[end : end + 4000] = b"w" * 4000
    (root / "wal" / WAL_FILE).write_bytes(segment)
    _script(root / "bin/pg_waldump", WALDUMP)
    (root / "bin/pg_control").write_bytes(replayed(END))
    _script(root / "bin/postgres", 'cp "${0%/*}/pg_control" "$2/global/pg_control.neon"')


def replayed(redo: Lsn) -> bytes:
    """A pg_control that was shut down in recovery."""
    control = ControlFile.read(GOLDEN / "pg_control.17")
    raw = bytearray(control.raw)
    struct.pack_into("<Q", raw, control.layout.redo, redo.value)
    return replace(control, raw=bytes(raw)).patched(state=DbState.SHUT_DOWN_IN_RECOVERY).raw


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
