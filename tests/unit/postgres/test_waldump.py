"""What pg_waldump says, read from a stand-in that says it (tests/wal has the real one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.model.lsn import Lsn
from neon_compose.postgres.versions import Version
from neon_compose.postgres.waldump import Ends, Line, dumping, is_end_of_wal

COMMIT = (
    "rmgr: Transaction len (rec/tot):     34/    34, tx:        735, lsn: 0/00B5A0B8, prev 0/00B5A080, "
    "desc: COMMIT 2026-11-23 09:15:00.123456 UTC"
)
SWITCH = (
    "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/00B5A0E0, prev 0/00B5A0B8, "
    "desc: SWITCH "
)
CHECKPOINT = (
    "rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/00B5A0F8, prev 0/00B5A0B8, "
    "desc: {} redo 0/B5A0B8; tli 1; prev tli 1; fpw true; wal_level replica"
)
SEGMENT = 1 << 20


def test_a_line_tells_its_record() -> None:
    line = Line.parse(COMMIT)
    assert line == Line("Transaction", 34, Lsn(0xB5A0B8), "COMMIT 2026-11-23 09:15:00.123456 UTC")
    assert line.end(SEGMENT) == Lsn(0xB5A0E0)
    assert Line.parse("pg_waldump: error") is None


@pytest.mark.parametrize(("start", "end"), [(0xB5A0E0, 0xC00000), (0xC00000 - 24, 0xC00000)])
def test_a_switch_takes_the_rest_of_its_segment(start: int, end: int) -> None:
    line = Line.parse(SWITCH.replace("0/00B5A0E0", str(Lsn(start))))
    assert line is not None
    assert line.end(SEGMENT) == Lsn(end)


@pytest.mark.parametrize("middle", [0, 1, 5000])
def test_the_first_and_the_last_line_are_kept(tmp_path: Path, middle: int) -> None:
    """Lines longer than what is read at once too: a commit lists all it removes."""
    long = COMMIT + "; rels: " + "x" * 200_000
    (tmp_path / "out").write_text("\n".join([COMMIT, *[SWITCH] * middle, long]) + "\n")
    program = tmp_path / "pg_waldump"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/out; echo why >&2; exit 1\n")
    program.chmod(0o755)
    with dumping(Version(17, tmp_path), tmp_path, Lsn(0), "a", "b") as dump:
        assert dump.ends() == Ends(Line.parse(COMMIT), Line.parse(long), None)
        assert dump.complaint() == "why"
        assert dump.failed()


@pytest.mark.parametrize("before", [0, 1, 3000])
@pytest.mark.parametrize("after", [0, 1, 3000])
def test_the_last_checkpoint_is_found_wherever_it_is(tmp_path: Path, before: int, after: int) -> None:
    online = CHECKPOINT.format("CHECKPOINT_ONLINE")
    lines = [CHECKPOINT.format("CHECKPOINT_SHUTDOWN").replace("00B5A0F8", "00B5A000"), *[SWITCH] * before]
    lines += [online, *[CHECKPOINT.format("CHECKPOINT_REDO"), COMMIT] * after]
    (tmp_path / "out").write_text("\n".join(lines) + "\n")
    program = tmp_path / "pg_waldump"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/out\n")
    program.chmod(0o755)
    with dumping(Version(17, tmp_path), tmp_path, Lsn(0), "a", "b") as dump:
        assert dump.ends() == Ends(Line.parse(lines[0]), Line.parse(lines[-1]), Line.parse(online))


@pytest.mark.parametrize(
    ("said", "is_end"),
    [
        ("", True),
        ("pg_waldump: error: error in WAL record at 0/B5A0B8: invalid record length at 0/B5A0E0", True),
        ("pg_waldump: error: invalid WAL segment size in WAL file", False),
    ],
)
def test_what_it_could_not_read_is_no_end_of_wal(said: str, is_end: bool) -> None:
    assert is_end_of_wal(said) is is_end
