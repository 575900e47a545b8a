"""What the kernel tells of writes that it could not do: the ground that marking a generation stands on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.compute.marker import Settler, syncing

_SYNC = (
    "import sys; from pathlib import Path; from neon_compose.compute.marker import syncing;"
    "syncing(Path(sys.argv[1]))()"
)


@pytest.fixture
def thin_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that says it has more room than there is under it: writes fail after they were taken.

    Ours stays open as long as this process lives, so it goes with that.
    """
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    under, disk = tmp_path / "under", tmp_path / "disk"
    for folder in (under, disk):
        folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", under], check=True)
    try:
        image = under / "image"
        image.touch()
        os.truncate(image, 64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-E", "nodiscard", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, disk], check=True)
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)
    finally:
        subprocess.run(["umount", "--lazy", under], check=True)


def sync_as_somebody_else(disk: Path) -> int:
    return subprocess.run([sys.executable, "-c", _SYNC, disk], capture_output=True, check=False).returncode


def test_lost_writes_that_somebody_elses_sync_was_told_of_keep_the_marker_away(thin_disk: Path) -> None:
    settler = Settler("boot", syncing(thin_disk))
    root = thin_disk / "generation"
    root.mkdir()
    (root / "compute.json").write_text("{}")
    settler.laying_out(root / "marker")
    (root / "pages").write_bytes(os.urandom(16 << 20))
    assert sync_as_somebody_else(thin_disk) != 0  # the kernel has told
    assert sync_as_somebody_else(thin_disk) == 0  # and tells nobody who comes later
    for _ in range(2):
        settler.settle(root / "marker")
        assert settler.idle(60)
        assert not (root / "marker").exists()
