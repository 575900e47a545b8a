from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.layer.keys import SegmentKey, is_temporary

u32 = st.integers(0, 0xFFFFFFFF)
keys = st.builds(SegmentKey, st.just(1663), u32, u32, st.integers(0, 3), u32) | st.builds(
    SegmentKey, st.just(1664), st.just(0), u32, st.integers(0, 3), u32
)


@given(keys)
def test_a_key_is_the_key_of_its_path(key: SegmentKey) -> None:
    assert SegmentKey.parse(key.path()) == key


@given(st.text(alphabet="0123456789_./abfgilmnostv", max_size=24).map(lambda rest: f"base/{rest}"))
def test_what_has_a_key_is_the_path_of_that_key(path: str) -> None:
    key = SegmentKey.parse(path)
    assert key is None or key.path() == path


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("base/5/16384", (1663, 5, 16384, 0, 0)),
        ("base/5/16384_fsm", (1663, 5, 16384, 1, 0)),
        ("base/5/16384_vm.2", (1663, 5, 16384, 2, 2)),
        ("base/5/16384_init", (1663, 5, 16384, 3, 0)),
        ("global/1262.1", (1664, 0, 1262, 0, 1)),
        ("base/0/0", (1663, 0, 0, 0, 0)),
        ("base/4294967295/1", (1663, 4294967295, 1, 0, 0)),
    ],
)
def test_a_relation_segment_has_a_key(path: str, key: tuple[int, ...]) -> None:
    assert SegmentKey.parse(path) == key


@pytest.mark.parametrize(
    "path",
    [
        "base/5/pg_filenode.map",
        "base/5/PG_VERSION",
        "base/5/t3_16384",
        "base/5/016384",
        "base/05/1",
        "base/5/1.0",
        "base/5/1.01",
        "base/5/1_foo",
        "base/5/1_fsm_fsm",
        "base/5/4294967296",
        "base/4294967296/1",
        "base/5/1.4294967296",
        "base/5/12345678901",
        "base/5/1/2",
        "base/5/1 ",
        "base/5/1\n",
        "base/5/١",
        "base/5/",
        "global/pg_control",
        "pg_xact/0000",
        "/base/5/1",
        "1262",
    ],
)
def test_nothing_else_has_a_key(path: str) -> None:
    assert SegmentKey.parse(path) is None


def test_temporary_relations_are_told_by_their_name() -> None:
    assert all(map(is_temporary, ["t3_16384", "t12_5_fsm", "t3_1.1"]))
    assert not any(map(is_temporary, ["16384", "t_1", "t3", "pg_filenode.map", "t3_1_foo"]))
