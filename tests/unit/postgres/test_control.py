from __future__ import annotations

import struct
from pathlib import Path

import google_crc32c
import pytest

from neon_compose.errors import Conflict, Corrupt, Invalid
from neon_compose.model.lsn import Lsn
from neon_compose.postgres.control import ControlFile, DbState

GOLDEN = Path(__file__).parents[2] / "golden"
REAL = GOLDEN / "pg_control.17"


def resealed(raw: bytearray) -> bytes:
    """`raw` with the CRC that Postgres would give it."""
    struct.pack_into("<I", raw, 288, google_crc32c.value(bytes(raw[:288])))
    return bytes(raw)


def said_by_pg_controldata() -> dict[str, str]:
    lines = (GOLDEN / "pg_control.17.txt").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_a_real_control_file_reads_as_pg_controldata_says() -> None:
    control, said = ControlFile.read(REAL), said_by_pg_controldata()
    assert {
        "pg_control version number": str(control.pg_control_version),
        "Catalog version number": str(control.catalog_version),
        "Database system identifier": str(control.system_identifier),
        "Database cluster state": control.state.words,
        "Latest checkpoint location": str(control.checkpoint),
        "Latest checkpoint's REDO location": str(control.redo),
        "Latest checkpoint's TimeLineID": str(control.timeline),
        "Minimum recovery ending location": str(control.min_recovery_point),
        "Min recovery ending loc's timeline": str(control.min_recovery_tli),
        "Backup start location": str(control.backup_start_point),
        "max_connections setting": str(control.limits.max_connections),
        "max_worker_processes setting": str(control.limits.max_worker_processes),
        "max_wal_senders setting": str(control.limits.max_wal_senders),
        "max_prepared_xacts setting": str(control.limits.max_prepared_transactions),
        "max_locks_per_xact setting": str(control.limits.max_locks_per_transaction),
        "Bytes per WAL segment": str(control.wal_segment_size),
        "Data page checksum version": str(control.data_checksum_version),
    }.items() <= said.items()
    assert control.wal_level == 1  # replica
    assert control.postgres_major == 17


def test_patching_changes_state_recovery_point_and_checksum_only() -> None:
    raw = bytearray(REAL.read_bytes())
    struct.pack_into("<QI", raw, 136, 0xABCDEF, 1)
    before = ControlFile.parse(resealed(raw))
    after = before.patched(state=DbState.SHUT_DOWN_IN_RECOVERY, min_recovery_point=Lsn(0))
    differing = {i for i, (a, b) in enumerate(zip(before.raw, after.raw, strict=True)) if a != b}
    assert differing <= {16, *range(136, 148), *range(288, 292)}
    assert (after.state, after.min_recovery_point, after.min_recovery_tli) == (
        DbState.SHUT_DOWN_IN_RECOVERY,
        Lsn(0),
        0,
    )
    assert (after.checkpoint, after.limits) == (before.checkpoint, before.limits)


def test_a_patch_back_gives_the_same_bytes() -> None:
    control = ControlFile.read(REAL)
    there = control.patched(state=DbState.IN_PRODUCTION)
    assert there.raw != control.raw
    assert there.patched(state=DbState.SHUT_DOWN).raw == control.raw


@pytest.mark.parametrize("at", [0, 16, 32, 40, 136, 180, 287, 288, 291])
def test_a_flipped_byte_is_corrupt(at: int) -> None:
    raw = bytearray(REAL.read_bytes())
    raw[at] ^= 0x10
    with pytest.raises(Corrupt, match="checksum of"):
        ControlFile.parse(bytes(raw))


@pytest.mark.parametrize("size", [0, 291, 8191, 8193])
def test_a_wrong_size_is_corrupt(size: int) -> None:
    with pytest.raises(Corrupt):
        ControlFile.parse(REAL.read_bytes()[:size].ljust(size, b"\0"))


@pytest.mark.parametrize(("at", "value"), [(8, 1300), (8, 1800), (12, 202307071), (8, 0)])
def test_another_major_is_refused_by_its_versions(at: int, value: int) -> None:
    raw = bytearray(REAL.read_bytes())
    struct.pack_into("<I", raw, at, value)
    with pytest.raises(Conflict) as caught:
        ControlFile.parse(resealed(raw))
    assert caught.value.code == "unknown_control_version"
    assert str(value) in caught.value.detail


def test_a_foreign_block_size_is_refused() -> None:
    raw = bytearray(REAL.read_bytes())
    struct.pack_into("<I", raw, 216, 32768)
    with pytest.raises(Invalid, match="block sizes"):
        ControlFile.parse(resealed(raw))


def test_an_unknown_state_is_corrupt() -> None:
    raw = bytearray(REAL.read_bytes())
    struct.pack_into("<I", raw, 16, 7)
    with pytest.raises(Corrupt, match="unknown state"):
        ControlFile.parse(resealed(raw))
