"""Layers over each other against the plainest model there is: a dict of (segment, block) -> page content."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Bug, Corrupt
from neon_compose.layer import branchmap, index
from neon_compose.layer.index import ZERO_PAGE, Extent, Kind, LayerIndex, Segment
from neon_compose.layer.keys import SegmentKey
from neon_compose.model.lsn import Lsn

STORAGE = UUID(int=99)
KEYS = [SegmentKey(1663, 5, rel, fork, seg) for rel in (1, 2) for fork in (0, 1) for seg in (0, 1)]
ZERO = None

Content = list[tuple[int, int] | None]  # per block: (layer, page), or zeros


@dataclass
class Model:
    """The files of the tip, block by block."""

    files: dict[SegmentKey, Content]


def layer_of(
    number: int, kind: Kind, segments: dict[SegmentKey, tuple[int, dict[int, bool]]], dropped: set[SegmentKey]
) -> tuple[LayerIndex, dict[SegmentKey, dict[int, tuple[int, int] | None]]]:
    """A layer whose segments have these sizes and blocks (block -> is zero), and where its blocks went."""
    page, made, placed = 0, [], {}
    for key in sorted(segments):
        blocks, own = segments[key]
        extents: list[Extent] = []
        placed[key] = {}
        for block in sorted(own):
            at = ZERO_PAGE if own[block] else page
            placed[key][block] = ZERO if own[block] else (number, page)
            page += not own[block]
            extents.append(Extent(block, 1, at))
        made.append(Segment(key, blocks, tuple(extents)))
    found = LayerIndex(
        layer_id=UUID(int=number + 1),
        storage_id=STORAGE,
        redo=Lsn(1),
        consistent=Lsn(2),
        kind=kind,
        timeline=1,
        pages=page,
        content_hash=bytes(16),
        segments=tuple(made),
        dropped=tuple(sorted(dropped)),
        page_crcs=array("I", bytes(4 * page)),
    )
    return index.decode(index.encode(found), "made"), placed


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[LayerIndex], Model]:
    """An image and up to four deltas over it, and what the tip must look like."""
    model = Model({})
    layers = []
    for number in range(draw(st.integers(1, 5))):
        dropped = set(draw(st.lists(st.sampled_from(KEYS), max_size=2))) if number else set()
        for key in dropped:
            model.files.pop(key, None)
        segments = {}
        for key in draw(st.sets(st.sampled_from(KEYS), max_size=5)):
            below = model.files.get(key, [])
            blocks = draw(st.integers(0, 6))
            must = set(range(len(below), blocks)) if number else set(range(blocks))
            own = must | set(draw(st.sets(st.integers(0, 5), max_size=4))) & set(range(blocks))
            segments[key] = (blocks, {block: draw(st.booleans()) for block in own})
        kind = Kind.DELTA if number else Kind.IMAGE
        made, placed = layer_of(number, kind, segments, dropped)
        for key, (blocks, _) in segments.items():
            content = (model.files.get(key, []) + [ZERO] * blocks)[:blocks]
            for block, place in placed[key].items():
                content[block] = place
            model.files[key] = content
        layers.append(made)
    return layers, model


@given(stacks())
def test_the_map_of_a_stack_shows_what_the_model_holds(stack: tuple[list[LayerIndex], Model]) -> None:
    layers, model = stack
    found = branchmap.decode(branchmap.encode(layers, STORAGE), "made")
    assert [segment.key for segment in found.segments] == sorted(model.files)
    for key, content in model.files.items():
        for block, expected in enumerate(content):
            place = found.locate(key, block)
            assert place is not None
            shown = None if place.layer is None else (place.layer.int - 1, place.page)
            assert shown == expected
        assert found.locate(key, len(content)) is None
    assert all(segment.first_bit % 8 == 0 for segment in found.segments)


@given(stacks())
def test_the_folders_of_a_map_list_every_file_with_its_size(stack: tuple[list[LayerIndex], Model]) -> None:
    layers, model = stack
    found = branchmap.decode(branchmap.encode(layers, STORAGE), "made")
    listed = {f"{folder.path}/{name}": size for folder in found.folders for name, size in folder.files}
    assert listed == {key.path(): len(content) * 8192 for key, content in model.files.items()}


def small(number: int, kind: Kind, blocks: int, own: dict[int, bool]) -> LayerIndex:
    return layer_of(number, kind, {KEYS[0]: (blocks, own)}, set())[0]


def test_a_block_that_is_in_no_layer_is_corrupt_and_named() -> None:
    layers = [small(0, Kind.IMAGE, 1, {0: False}), small(1, Kind.DELTA, 3, {2: False})]
    with pytest.raises(Corrupt, match='block 1 of "base/5/1" is in no layer'):
        branchmap.encode(layers, STORAGE)


def test_what_was_dropped_below_does_not_show_through() -> None:
    image = small(0, Kind.IMAGE, 2, {0: False, 1: False})
    delta = layer_of(1, Kind.DELTA, {KEYS[0]: (2, {0: False})}, {KEYS[0]})[0]
    with pytest.raises(Corrupt, match="block 1"):
        branchmap.encode([image, delta], STORAGE)


def test_layers_of_another_storage_are_refused() -> None:
    with pytest.raises(Corrupt, match="another storage"):
        branchmap.encode([small(0, Kind.IMAGE, 0, {})], UUID(int=98))


def test_a_stack_begins_with_an_image() -> None:
    with pytest.raises(Corrupt, match="not an image"):
        branchmap.encode([small(0, Kind.DELTA, 0, {})], STORAGE)
    with pytest.raises(Bug):
        branchmap.encode([], STORAGE)


@pytest.mark.parametrize(
    "extents",
    [
        [],
        [(0, 1, 0)],
        [(1, 2, 0)],
        [(0, 1, 0), (2, 1, 1)],
        [(0, 2, 0), (1, 1, 2)],
        [(0, 3, 0)],
        [(0, 0, 0), (0, 2, 0)],
        [(0, 2, 1)],
    ],
)
def test_an_images_extents_must_cover_each_segment_once_within_its_pages(
    extents: list[tuple[int, ...]],
) -> None:
    good = small(0, Kind.IMAGE, 2, {0: False, 1: False})
    segment = Segment(KEYS[0], 2, tuple(Extent(*extent) for extent in extents))
    with pytest.raises(Corrupt, match="made"):
        index.decode(index.encode(replace(good, segments=(segment,))), "made")


def test_segments_out_of_order_or_twice_are_corrupt() -> None:
    good = small(0, Kind.IMAGE, 0, {})
    first, second = Segment(KEYS[0], 0, ()), Segment(KEYS[1], 0, ())
    for segments in ((second, first), (first, first)):
        with pytest.raises(Corrupt, match="made"):
            index.decode(index.encode(replace(good, segments=segments)), "made")


def test_an_image_over_other_layers_is_refused() -> None:
    layers = [small(0, Kind.IMAGE, 1, {0: False}), small(1, Kind.IMAGE, 1, {0: False})]
    with pytest.raises(Corrupt, match="not at the bottom"):
        branchmap.encode(layers, STORAGE)
