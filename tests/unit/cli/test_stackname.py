"""Which stack a call is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.cli.stackname import choose
from neon_compose.errors import Invalid, NotFound


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEON_COMPOSE_STACK", raising=False)


def stack_file(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "neon-compose.yaml"
    file.write_text(text)
    return file


def test_without_anything_it_is_neon(tmp_path: Path) -> None:
    choice = choose(None, None, tmp_path)
    assert (choice.stack, choice.file) == ("neon", None)


def test_the_option_wins_over_the_variable_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack_file(tmp_path, "name: of-file")
    assert choose(None, None, tmp_path).stack == "of-file"
    monkeypatch.setenv("NEON_COMPOSE_STACK", "of-variable")
    assert choose(None, None, tmp_path).stack == "of-variable"
    assert choose("of-option", None, tmp_path).stack == "of-option"


def test_the_nearest_file_upwards_counts(tmp_path: Path) -> None:
    stack_file(tmp_path, "name: outer")
    inner = stack_file(tmp_path / "a/b", "name: inner")
    deep = tmp_path / "a/b/c/d"
    deep.mkdir(parents=True)
    assert (choose(None, None, deep).stack, choose(None, None, deep).file) == ("inner", inner)
    assert choose(None, None, tmp_path / "a").stack == "outer"


@pytest.mark.parametrize(
    "text", ["minio: false", "name:", "name: ''", "name: null", "# name: x", "x:\n  name: y"]
)
def test_a_file_without_a_name_gives_its_folders(tmp_path: Path, text: str) -> None:
    stack_file(tmp_path / "My_Shop 2", text)
    assert choose(None, None, tmp_path / "My_Shop 2").stack == "my-shop-2"


@pytest.mark.parametrize("text", ["name: 'x1'  # why", 'name:   "x1"', "a: 1\nname: x1\n", "name: x1\r\n"])
def test_a_name_is_found_as_yaml_writes_it(tmp_path: Path, text: str) -> None:
    stack_file(tmp_path, text)
    assert choose(None, None, tmp_path).stack == "x1"


@pytest.mark.parametrize("folder", ["12", "--", "日本"])
def test_a_folder_that_makes_no_name_gives_neon(tmp_path: Path, folder: str) -> None:
    stack_file(tmp_path / folder, "")
    assert choose(None, None, tmp_path / folder).stack == "neon"


def test_a_named_file_takes_the_place_of_the_nearest(tmp_path: Path) -> None:
    stack_file(tmp_path, "name: nearest")
    other = tmp_path / "ci.yaml"
    other.write_text("name: ci\n")
    assert choose(None, other, tmp_path).stack == "ci"


def test_a_bad_name_is_refused_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Invalid):
        choose("", None, tmp_path)
    stack_file(tmp_path, "name: Bad_Name")
    with pytest.raises(Invalid):
        choose(None, None, tmp_path)
    monkeypatch.setenv("NEON_COMPOSE_STACK", "../x")
    with pytest.raises(Invalid):
        choose(None, None, tmp_path)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        choose(None, tmp_path / "none.yaml", tmp_path)
