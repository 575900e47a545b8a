"""Power cuts against the plain-file model: a workload on the real shim over real branch maps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import scale
from tests.power import branch, lives
from tests.shim.mutants import MUTANTS

# Breaks that lose something only when the power goes.
BREAKS = (
    "the overlay is written and not synced",
    "pg_control is written without a persist",
    "fsync is skipped on every file",
    "what isn't synced is persisted",
    "a file is made before the disk knows that it is another one",
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> branch.Programs:
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler here")
    return branch.build(tmp_path_factory.mktemp("programs"))


@pytest.mark.chaos
def test_no_power_cut_shows_what_was_not_written_or_loses_what_a_checkpoint_synced(
    programs: branch.Programs, tmp_path: Path
) -> None:
    first = scale.seed()
    images = lost = 0
    for n in range(scale.amount(10, 200)):
        judged, complaints = lives.live(tmp_path / str(n), programs, first + n)
        assert not complaints, "\n".join(complaints)
        images += judged.images
        lost += judged.lost_blocks
    print(f"{images} images, {lost} blocks had lost their last write")
    assert images >= scale.amount(500, 10_000)
    assert lost > images  # else the cuts take nothing away


@pytest.mark.parametrize("name", BREAKS, ids=lambda name: name.replace(" ", "_"))
@pytest.mark.usefixtures("programs")
def test_a_shim_that_skips_a_sync_is_caught(name: str, tmp_path: Path) -> None:
    """Within the images that the shim as it is passes."""
    shutil.copytree(branch.SHIM, tmp_path / "shim")
    for edit in next(mutant.edits for mutant in MUTANTS if mutant.name == name):
        path = tmp_path / "shim" / edit.file
        text = path.read_text()
        assert text.count(edit.old) == 1, edit
        path.write_text(text.replace(edit.old, edit.new))
    (tmp_path / "programs").mkdir()
    broken = branch.build(tmp_path / "programs", tmp_path / "shim")
    lived = (lives.live(tmp_path / str(n), broken, scale.seed() + n) for n in range(scale.amount(10, 200)))
    assert any(complaints for _, complaints in lived), f"nothing is lost although {name}"
