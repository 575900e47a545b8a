"""Postgres's global/pg_control: read, verify, patch.

Owns the offsets of the struct ControlFileData (src/include/catalog/pg_control.h), one table entry per
major, found by (pg_control_version, catalog version): a beta of 17 shares the first only, and its data
is not what 17 opens. Does not write files. Invariant: the CRC-32C is verified before anything is read
and computed anew after a patch, so a patched image is never built on a damaged one.

Postgres 17, little endian, 8-byte alignment (offset size):
   0  8  system identifier              136  8  minRecoveryPoint       (LSN)
   8  4  pg_control_version = 1700      144  4  minRecoveryPointTLI
  12  4  catalog version = 202406281    152  8  backupStartPoint       (LSN)
  16  4  state (DBState)                172  4  wal_level
  32  8  checkPoint (LSN)               180  4  max_connections
  40  8  checkPointCopy.redo (LSN)      184  4  max_worker_processes
  48  4  checkPointCopy.ThisTimeLineID  188  4  max_wal_senders
 112 .. (rest of the checkpoint)        192  4  max_prepared_transactions
 216  4  block size                     196  4  max_locks_per_transaction
 220  4  blocks per segment             252  4  data_checksum_version (0 = off)
 224  4  WAL block size                 256 32  mock authentication nonce
 228  4  WAL segment size               288  4  CRC of bytes [0, 288)
The file is 8192 bytes, zero after the struct.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import google_crc32c

from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.model.lsn import Lsn

SIZE = 8192


class DbState(IntEnum):
    """DBState; the words are pg_controldata's."""

    STARTUP = 0
    SHUT_DOWN = 1
    SHUT_DOWN_IN_RECOVERY = 2
    SHUTTING_DOWN = 3
    IN_CRASH_RECOVERY = 4
    IN_ARCHIVE_RECOVERY = 5
    IN_PRODUCTION = 6

    @property
    def words(self) -> str:
        return _WORDS.get(self, self.name.lower().replace("_", " "))


_WORDS = {DbState.STARTUP: "starting up"}


@dataclass(frozen=True)
class Layout:
    """Where one major keeps what."""

    major: int
    state: int
    checkpoint: int
    redo: int
    timeline: int
    min_recovery_point: int
    min_recovery_tli: int
    backup_start_point: int
    wal_level: int
    limits: int  # five u32 in a row
    block_size: int
    data_checksum_version: int
    crc: int


LAYOUTS: dict[tuple[int, int], Layout] = {
    (1700, 202406281): Layout(
        major=17,
        state=16,
        checkpoint=32,
        redo=40,
        timeline=48,
        min_recovery_point=136,
        min_recovery_tli=144,
        backup_start_point=152,
        wal_level=172,
        limits=180,
        block_size=216,
        data_checksum_version=252,
        crc=288,
    ),
}


@dataclass(frozen=True)
class Limits:
    """The five settings a standby must not have lower (CheckRequiredParameterValues)."""

    max_connections: int
    max_worker_processes: int
    max_wal_senders: int
    max_prepared_transactions: int
    max_locks_per_transaction: int


@dataclass(frozen=True)
class ControlFile:
    """A verified pg_control; `raw` is the whole file, `path` only for messages."""

    raw: bytes
    path: str
    layout: Layout
    system_identifier: int
    pg_control_version: int
    catalog_version: int
    state: DbState
    checkpoint: Lsn
    redo: Lsn
    timeline: int
    min_recovery_point: Lsn
    min_recovery_tli: int
    backup_start_point: Lsn
    wal_level: int
    limits: Limits
    wal_segment_size: int
    data_checksum_version: int

    @property
    def postgres_major(self) -> int:
        return self.layout.major

    @classmethod
    def read(cls, path: Path) -> ControlFile:
        """The file at `path`. Raises as `parse`, and OSError if it can't be read."""
        return cls.parse(path.read_bytes(), str(path))

    @classmethod
    def parse(cls, raw: bytes, path: str = "pg_control") -> ControlFile:
        """Verify and decode `raw`. Raises `Corrupt` (size, CRC, state), `Conflict` code
        "unknown_control_version" (a major we have no offsets for) or `Invalid` (a foreign block size)."""
        layout = _layout(raw, path)
        _verify_crc(raw, layout, path)
        _verify_blocks(raw, layout, path)
        state = _u32(raw, layout.state)
        if state not in DbState.__members__.values():
            raise Corrupt(f'"{path}" holds an unknown state', detail=f"State is {state}, not 0 to 6.")
        return cls(
            raw=raw,
            path=path,
            layout=layout,
            system_identifier=_u64(raw, 0),
            pg_control_version=_u32(raw, 8),
            catalog_version=_u32(raw, 12),
            state=DbState(state),
            checkpoint=Lsn(_u64(raw, layout.checkpoint)),
            redo=Lsn(_u64(raw, layout.redo)),
            timeline=_u32(raw, layout.timeline),
            min_recovery_point=Lsn(_u64(raw, layout.min_recovery_point)),
            min_recovery_tli=_u32(raw, layout.min_recovery_tli),
            backup_start_point=Lsn(_u64(raw, layout.backup_start_point)),
            wal_level=_u32(raw, layout.wal_level),
            limits=Limits(*struct.unpack_from("<5I", raw, layout.limits)),
            wal_segment_size=_u32(raw, layout.block_size + 12),
            data_checksum_version=_u32(raw, layout.data_checksum_version),
        )

    def patched(self, *, state: DbState | None = None, min_recovery_point: Lsn | None = None) -> ControlFile:
        """A copy with another state or minRecoveryPoint (Lsn(0) also clears its timeline), CRC redone
        and verified. DESIGN 6 opens a moment with state SHUT_DOWN_IN_RECOVERY and Lsn(0)."""
        raw = bytearray(self.raw)
        if state is not None:
            struct.pack_into("<I", raw, self.layout.state, state)
        if min_recovery_point is not None:
            struct.pack_into("<Q", raw, self.layout.min_recovery_point, min_recovery_point.value)
            if min_recovery_point == Lsn(0):
                struct.pack_into("<I", raw, self.layout.min_recovery_tli, 0)
        crc = google_crc32c.value(bytes(raw[: self.layout.crc]))
        struct.pack_into("<I", raw, self.layout.crc, crc)
        return ControlFile.parse(bytes(raw), self.path)

    def for_crash_recovery(self) -> ControlFile:
        """A copy that makes Postgres replay what is in pg_wal, without syncing the data directory first."""
        return self.patched(state=DbState.SHUT_DOWN_IN_RECOVERY, min_recovery_point=Lsn(0))


def _layout(raw: bytes, path: str) -> Layout:
    if len(raw) != SIZE:
        raise Corrupt(f'"{path}" is not a pg_control', detail=f"It has {len(raw)} bytes, not {SIZE}.")
    versions = _u32(raw, 8), _u32(raw, 12)
    layout = LAYOUTS.get(versions)
    if layout is None:
        known = ", ".join(f"{one.major} ({a}/{b})" for (a, b), one in LAYOUTS.items())
        raise Conflict(
            f'"{path}" is of a Postgres this version does not know',
            detail=f"Its pg_control_version is {versions[0]} and its catalog version {versions[1]}; "
            f"known is {known}.",
            code="unknown_control_version",
        )
    return layout


def _verify_crc(raw: bytes, layout: Layout, path: str) -> None:
    found, computed = _u32(raw, layout.crc), google_crc32c.value(raw[: layout.crc])
    if found != computed:
        raise Corrupt(
            f'checksum of "{path}" does not match',
            detail=f"The file says {found:08x}, its bytes give {computed:08x}.",
        )


def _verify_blocks(raw: bytes, layout: Layout, path: str) -> None:
    found = struct.unpack_from("<3I", raw, layout.block_size)
    if found != (8192, 131072, 8192):
        raise Invalid(
            f'"{path}" has other block sizes than upstream Postgres',
            detail=f"Block, blocks per segment and WAL block are {found}, not (8192, 131072, 8192).",
            code="foreign_block_size",
        )


def _u32(raw: bytes, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 4], "little")


def _u64(raw: bytes, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 8], "little")
