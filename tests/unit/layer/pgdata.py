"""Small data directories for tests: a real pg_control and checkpoint, and the relation files asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from neon_compose.model.lsn import Lsn

GOLDEN = Path(__file__).parents[2] / "golden"
REDO, END = Lsn(0xBDB4A8), Lsn(0xBDB520)
WAL_FILE = "000000010000000000000002"
BLOCK = 8192


def page(number: int) -> bytes:
    """A page that differs from every other one."""
    return number.to_bytes(8, "little") * (BLOCK // 8)


def make_pgdata(root: Path, files: Mapping[str, bytes]) -> Path:
    """A cleanly stopped cluster at `root` with these files, by path under it."""
    for folder in ("base/5", "global", "pg_wal/archive_status", "pg_tblspc", "pg_replslot", "pg_xact"):
        (root / folder).mkdir(parents=True, mode=0o700)
    put(root, "PG_VERSION", b"17\n")
    put(root, "pg_xact/0000", page(1))
    put(root, "global/pg_control", (GOLDEN / "pg_control.17").read_bytes())
    with (root / "pg_wal" / WAL_FILE).open("wb") as wal:
        wal.truncate(4 << 20)
        wal.seek(REDO.value % (4 << 20) // BLOCK * BLOCK)
        wal.write((GOLDEN / "checkpoint_page.17").read_bytes())
    (root / "pg_wal" / WAL_FILE).chmod(0o600)
    for name, data in files.items():
        put(root, name, data)
    return root


def put(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)
