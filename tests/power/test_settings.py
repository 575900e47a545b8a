"""Power cuts while a compute's settings are written before a start."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.power import branch, folder, log

_DROP = """
import pathlib, sys
from neon_compose.compute import command
command.drop_lines(pathlib.Path(sys.argv[1]), {"port"})
"""
BEFORE, AFTER = "work_mem = '8MB'\nport = '1'\n", "work_mem = '8MB'\n"


def test_what_alter_system_set_survives_any_power_cut(tmp_path: Path) -> None:
    """Postgres made it durable; that we take a line out of it must not lose the others."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    recorder, data, record = branch.build_recorder(tmp_path), tmp_path / "data", tmp_path / "log"
    data.mkdir()
    (data / "postgresql.auto.conf").write_text(BEFORE)
    disk = folder.load(data, tmp_path)
    inode = data.stat().st_ino
    log.make(record, 1 << 24)
    subprocess.run(
        [sys.executable, "-c", _DROP, str(data / "postgresql.auto.conf")],
        env={**os.environ, "LD_PRELOAD": str(recorder), "POWER_LOG": str(record)},
        check=True,
        timeout=60,
    )
    assert (data / "postgresql.auto.conf").read_text() == AFTER
    rng, found = random.Random(1), set[str]()
    for n, one in enumerate([*log.read(record), None]):
        for again in range(20):
            image = tmp_path / f"{n}-{again}"
            folder.store(disk.crash(rng), inode, image)
            found.add((image / "postgresql.auto.conf").read_text())
        if one is not None:
            disk.feed(one)
    assert found == {BEFORE, AFTER}
