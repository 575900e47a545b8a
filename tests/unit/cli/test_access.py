"""URL and token on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from neon_compose.cli import access
from neon_compose.cli.access import Access
from neon_compose.model.names import Name

STACK = Name("one")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_what_is_written_is_read_and_only_ours_to_read() -> None:
    access.write(STACK, Access("http://x", "t"))
    assert access.read(STACK) == Access("http://x", "t")
    assert stat.S_IMODE(access.path_of(STACK).stat().st_mode) == 0o600


def test_writing_again_replaces_and_leaves_no_other_file() -> None:
    access.write(STACK, Access("http://x", "t"))
    access.path_of(STACK).chmod(0o644)
    access.write(STACK, Access("http://y", "u"))
    assert access.read(STACK) == Access("http://y", "u")
    assert stat.S_IMODE(access.path_of(STACK).stat().st_mode) == 0o600
    assert [file.name for file in access.path_of(STACK).parent.iterdir()] == ["one.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": "x"}', "3"])
def test_a_file_that_is_not_ours_counts_as_absent(text: str) -> None:
    access.path_of(STACK).parent.mkdir(parents=True)
    access.path_of(STACK).write_text(text)
    assert access.read(STACK) is None


def test_forgetting_twice_is_success() -> None:
    access.write(STACK, Access("http://x", "t"))
    access.forget(STACK)
    access.forget(STACK)
    assert access.read(STACK) is None


def test_a_token_is_not_part_of_its_representation() -> None:
    assert "secret" not in repr(Access("http://x", "secret"))
