from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from neon_compose import durable


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    with durable.aside(tmp_path / "x") as file:
        file.write(b"one ")
        file.write(b"two")
        assert not (tmp_path / "x").exists()
        file.rename()
    assert (tmp_path / "x").read_bytes() == b"one two"
    assert listed(tmp_path) == ["x"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), durable.aside(tmp_path / "x") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert listed(tmp_path) == []


def test_a_link_does_not_replace(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "x", b"first")
    with durable.aside(tmp_path / "x") as file:
        file.write(b"second")
        with pytest.raises(FileExistsError):
            file.link()
    assert (tmp_path / "x").read_bytes() == b"first"
    assert listed(tmp_path) == ["x"]


def test_folders_are_made_with_their_parents_and_again(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_sweep_leaves_other_files_alone(tmp_path: Path) -> None:
    for name in (".lock", "x", ".x.aside.map", "y.aside"):
        (tmp_path / name).touch()
    (tmp_path / ".x.0011.aside").touch()
    assert [path.name for path in durable.sweep(tmp_path)] == [".x.0011.aside"]
    assert listed(tmp_path) == [".lock", ".x.aside.map", "x", "y.aside"]
