"""compute.json."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.compute import record as records
from neon_compose.compute.record import Record, Stage
from neon_compose.errors import Corrupt

LAYERS = ("01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000002")
RECORD = Record(
    "shop", "0123456789ab", "branch", "tip", Stage.LAID_OUT, "boot", "0/1", 15432, "0/2", True, layers=LAYERS
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    records.write(tmp_path / "compute.json", RECORD)
    assert records.read(tmp_path / "compute.json") == RECORD
    assert [path.name for path in tmp_path.iterdir()] == ["compute.json"]


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert records.read(tmp_path / "compute.json") is None


@pytest.mark.parametrize("torn", ["", "[]", "{}", '{"format": 1, "stage": "later"}', '{"format": 2}'])
def test_a_torn_record_is_corrupt(tmp_path: Path, torn: str) -> None:
    (tmp_path / "compute.json").write_text(torn)
    with pytest.raises(Corrupt):
        records.read(tmp_path / "compute.json")


def test_stages_only_go_forward() -> None:
    assert RECORD.at(Stage.OPENED).stage is Stage.OPENED
    assert RECORD.at(Stage.PREPARED).stage is Stage.LAID_OUT
