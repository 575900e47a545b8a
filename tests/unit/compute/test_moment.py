"""Layouts for a moment, and what tells whether it was reached; with a real checkpoint, without Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from neon_compose.compute import gate
from neon_compose.compute.layout import Tip, lay_out
from neon_compose.compute.moment import Moment
from neon_compose.compute.paths import ComputePaths
from neon_compose.compute.record import Record, Stage
from neon_compose.errors import Bug, Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.pageserver.__main__ import load_tip
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.postgres.cut import Cut
from tests.unit.layer.pgdata import END, REDO, WAL_FILE
from tests.unit.pageserver.storage import World

SEGMENT = 4 << 20
BRANCH = UUID("01900000-0000-7000-8000-00000000000b")
AFTER = Lsn(END.value + 800)


@pytest.fixture
def tip(tmp_path: Path) -> Tip:
    """That of a storage with one clean layer."""
    real = World(tmp_path)
    layers = real.branches.find("main").layers
    return load_tip(real.store, real.work / "maps", layers[-1], layers)


@pytest.fixture
def wal(tmp_path: Path, tip: Tip) -> Path:
    """What the layer came with, and something after it."""
    folder = tmp_path / "wal"
    folder.mkdir()
    [own] = [file for file in tip.files if file.name == f"pg_wal/{WAL_FILE}"]
    raw = bytearray(own.data)
    raw[END.value % SEGMENT :] = b"x" * (SEGMENT - END.value % SEGMENT)
    (folder / WAL_FILE).write_bytes(raw)
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> ComputePaths:
    paths = ComputePaths(tmp_path / "generation")
    paths.root.mkdir()
    return paths


def test_a_layout_for_a_moment_has_its_wal_and_asks_for_recovery(
    tip: Tip, wal: Path, paths: ComputePaths
) -> None:
    lay_out(paths, tip, BRANCH, Cut(wal, AFTER))
    laid = (paths.wal / WAL_FILE).read_bytes()
    at = AFTER.value % SEGMENT
    assert laid[:at] == (wal / WAL_FILE).read_bytes()[:at]
    assert laid[at:] == bytes(SEGMENT - at)
    control = ControlFile.read(paths.control)
    assert (control.state, control.min_recovery_point) == (DbState.SHUT_DOWN_IN_RECOVERY, Lsn(0))
    assert (control.checkpoint, control.redo) == (REDO, REDO)


@pytest.mark.parametrize("end", [None, END])
def test_the_end_of_a_clean_layer_is_laid_out_as_the_layer_is(
    tip: Tip, paths: ComputePaths, end: Lsn | None
) -> None:
    lay_out(paths, tip, BRANCH, Cut(Path("/nowhere"), end) if end else None)
    assert paths.control.read_bytes() == tip.control.raw


def test_a_moment_before_the_layer_and_an_unclean_layer_without_wal_are_bugs(
    tip: Tip, wal: Path, paths: ComputePaths
) -> None:
    with pytest.raises(Bug, match="can't be opened at"):
        lay_out(paths, tip, BRANCH, Cut(wal, Lsn(END.value - 8)))
    unclean = replace(tip, control=tip.control.patched(state=DbState.SHUT_DOWN_IN_RECOVERY))
    with pytest.raises(Bug, match="only with the WAL after it"):
        lay_out(paths, unclean, BRANCH)


@pytest.mark.parametrize("at", [REDO.value, END.value - 1])
def test_wal_that_differs_from_the_layers_own_is_refused(
    tip: Tip, wal: Path, paths: ComputePaths, at: int
) -> None:
    raw = bytearray((wal / WAL_FILE).read_bytes())
    raw[at % SEGMENT] ^= 1
    (wal / WAL_FILE).write_bytes(raw)
    with pytest.raises(Corrupt):
        lay_out(paths, tip, BRANCH, Cut(wal, AFTER))


# ---- the gate


def standing(checkpoint: Lsn) -> gate.Standing:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    return gate.Standing(7, checkpoint, started, started, checkpoint, started)


def checked(tip: Tip, paths: ComputePaths, moment: Lsn, checkpoint: Lsn) -> None:
    where = Moment(moment, paths.wal, tip.control.timeline, SEGMENT)
    gate.check(standing(checkpoint), gate.Expected(7, moment, where))


@pytest.mark.parametrize("later", [0, 8, 5000])
def test_the_gate_takes_a_recovery_that_ended_at_the_moment(
    tip: Tip, paths: ComputePaths, later: int
) -> None:
    """The layer's own shutdown checkpoint stands for one that ended a recovery."""
    lay_out(paths, tip, BRANCH)
    checked(tip, paths, REDO, Lsn(REDO.value + later))


@pytest.mark.parametrize(
    "moment", [Lsn(REDO.value - 8), Lsn(REDO.value + 8), END, Lsn(END.value // 8192 * 8192)]
)
def test_the_gate_takes_no_other_place(tip: Tip, paths: ComputePaths, moment: Lsn) -> None:
    lay_out(paths, tip, BRANCH)
    for checkpoint in (REDO, moment, Lsn(END.value + 8000)):
        with pytest.raises(Corrupt) as caught:
            checked(tip, paths, moment, checkpoint)
        assert caught.value.code == "not_at_moment"
        assert str(moment) in caught.value.message


def test_the_gate_takes_no_checkpoint_that_pg_control_has_not_reached(tip: Tip, paths: ComputePaths) -> None:
    lay_out(paths, tip, BRANCH)
    with pytest.raises(Corrupt, match="did not open"):
        checked(tip, paths, REDO, Lsn(REDO.value - 400))


def test_a_layout_for_a_moment_is_unproven_until_it_opened() -> None:
    record = Record("shop", "0123456789ab", str(BRANCH), "tip", stage=Stage.LAID_OUT)
    assert not record.unproven
    assert replace(record, opens_at="0/1").unproven
    assert not replace(record, opens_at="0/1").at(Stage.OPENED).unproven
