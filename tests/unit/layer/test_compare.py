"""Comparing pages by where they are: as many differ as a look at their bytes says."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neon_compose.errors import Corrupt
from neon_compose.layer import branchmap
from neon_compose.layer.compare import Content, Difference, PageSums, Relation, compare
from neon_compose.layer.delta import MADE_ANEW
from neon_compose.layer.keys import BLOCK
from neon_compose.layer.overlay import Overlay
from neon_compose.layer.pack import LayerFiles
from tests.unit.layer.pgdata import page
from tests.unit.layer.test_delta import STORAGE, Branch

R1, R2, R3, ABSENT = (Relation(5, file) for file in (1, 2, 3, 999))


def content(branch: Branch) -> Content:
    stopped = branch.stopped()
    return Content(stopped.pgdata, stopped.branch_map, stopped.overlay, PageSums(branch.layers))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Branch, Branch]:
    """Two branches of the same image."""
    made = []
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        made.append(Branch(tmp_path / name))
    return made[0], made[1]


def compared(two: tuple[Branch, Branch], relation: Relation) -> Difference:
    return compare(content(two[0]), relation, content(two[1]), relation)


def test_what_both_have_from_one_layer_is_the_same_and_not_read(two: tuple[Branch, Branch]) -> None:
    for branch in two:  # the local files hold nothing that is theirs
        files = LayerFiles.of(branch.layers, UUID(int=1))
        files.index.unlink()
        files.pages.unlink()
    assert compared(two, R1) == (3, 3, 0)
    assert compared(two, R2) == (3, 3, 0)  # one of its pages is zeros


def test_own_pages_are_changed_unless_they_say_the_same(two: tuple[Branch, Branch]) -> None:
    before, after = two
    after.write("base/5/1", 1, page(77))
    assert compared(two, R1) == (3, 3, 1)
    before.write("base/5/1", 1, page(77))
    assert compared(two, R1) == (3, 3, 0)
    after.write("base/5/1", 1, page(11))  # as in the layer
    assert compared(two, R1) == (3, 3, 1)
    after.write("base/5/2", 1, bytes(BLOCK))
    assert compared(two, R2) == (3, 3, 0)


def test_pages_of_one_side_are_changed(two: tuple[Branch, Branch]) -> None:
    before, after = two
    after.write("base/5/3", 1, page(31))
    assert compared(two, R3) == (1, 2, 1)
    before.cut("base/5/3", 0)
    assert compared(two, R3) == (0, 2, 2)
    assert compare(content(before), ABSENT, content(after), R1) == (0, 3, 3)
    assert compare(content(before), R1, content(after), None) == (3, 0, 3)


def test_another_file_is_another_relation_whatever_it_holds(two: tuple[Branch, Branch]) -> None:
    assert compare(content(two[0]), R1, content(two[1]), R2) == (3, 3, 3)


def test_a_file_that_was_made_anew_has_nothing_of_its_layer(two: tuple[Branch, Branch]) -> None:
    after = two[1]
    number, _ = after.segment("base/5/1")
    (after.data / "base/5/1").write_bytes(page(10) + page(99))
    after.flags[number] |= MADE_ANEW
    assert compared(two, R1) == (3, 2, 2)  # one differs, one is gone


def test_a_new_relation_is_its_branchs_own(two: tuple[Branch, Branch]) -> None:
    for branch, last in zip(two, (2, 3), strict=True):
        (branch.data / "base/5/999").write_bytes(page(1) + page(last))
    assert compared(two, ABSENT) == (2, 2, 1)


def test_layers_that_say_the_same_are_the_same_by_their_checksums(two: tuple[Branch, Branch]) -> None:
    """As after a fold: other layers, the same pages, of which none is there to be read."""
    before, after = two
    after.write("base/5/1", 1, page(77))
    after.pack()
    over = branchmap.decode(branchmap.encode([*after.indexes, after.delta], STORAGE), "map")
    for path in after.layers.glob("*.pages"):
        path.unlink()
    header, nothing = over.header, bytes(over.header.n_bits // 8)
    overlay = Overlay(
        UUID(int=3), header.tip, header.crc, header.n_segments, header.n_bits, nothing, bytes(99)
    )
    found = Content(after.data, over, overlay, PageSums(after.layers))
    assert compare(content(before), R1, found, R1) == (3, 3, 1)
    assert compare(content(before), R2, found, R2) == (3, 3, 0)
    LayerFiles.of(after.layers, UUID(int=2)).index.write_bytes(b"broken")
    with pytest.raises(Corrupt):
        compare(content(before), R1, Content(after.data, over, overlay, PageSums(after.layers)), R1)


CHANGES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([bytes(BLOCK), page(10), page(11), page(77)])), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(CHANGES, CHANGES, st.integers(0, 3), st.integers(0, 3))
def test_any_history_of_both_is_counted_as_bytes_say(
    tmp_path_factory: pytest.TempPathFactory,
    ours: list[tuple[int, bytes]],
    theirs: list[tuple[int, bytes]],
    cut_ours: int,
    cut_theirs: int,
) -> None:
    sides, models = [], []
    for changes, cut in ((ours, cut_ours), (theirs, cut_theirs)):
        branch, model = Branch(tmp_path_factory.mktemp("branch")), [page(10), page(11), page(12)]
        if cut < 3:
            branch.cut("base/5/1", cut)
            del model[cut:]
        for block, data in changes:
            if block <= len(model):
                branch.write("base/5/1", block, data)
                model[block : block + 1] = [data]
        sides.append(content(branch))
        models.append(model)
    old, new = models
    changed = sum(a != b for a, b in zip(old, new, strict=False)) + abs(len(old) - len(new))
    assert compare(sides[0], R1, sides[1], R1) == (len(old), len(new), changed)
