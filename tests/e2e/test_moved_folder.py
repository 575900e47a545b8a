"""A stack whose folder moved, with a storage that is a folder in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack

FILE = "minio: false\nstorages: {shop: {path: ./data}}\npgs: {shop: {storage_name: shop}}\n"


@pytest.fixture
def moved(make_stack: StackMaker, tmp_path: Path) -> Stack:
    """Up, with rows, and then moved as a whole."""
    tmp_path.chmod(0o755)
    stack = make_stack(FILE)
    stack.up()
    stack.sql("shop", "create table kept as select 1 as n")
    elsewhere = tmp_path / "elsewhere"
    stack.folder.rename(elsewhere)
    stack.folder = elsewhere
    return stack


@pytest.mark.parametrize("first", [(), ("down",)], ids=["while it was up", "and then down"])
def test_a_moved_folder_is_followed_with_all_its_rows(moved: Stack, first: tuple[str, ...]) -> None:
    if first:
        moved.cli(*first)
    moved.up()
    assert moved.json("storage", "show", "shop")["path"] == str(moved.folder / "data")
    moved.cli("pg", "restart", "shop")
    assert moved.sql("shop", "select n from kept") == [(1,)]


def test_a_folder_that_is_gone_is_told_and_nothing_is_made_in_its_place(moved: Stack) -> None:
    shutil.move(moved.folder / "data", moved.folder / "hidden")
    moved.cli("down")
    refused = moved.run("up", "-d")
    assert refused.code != 0
    assert 'storage "shop" exists with another path' in refused.err
    assert not (moved.folder / "data").exists()
    shutil.move(moved.folder / "hidden", moved.folder / "data")
    moved.up()
    assert moved.sql("shop", "select n from kept") == [(1,)]
