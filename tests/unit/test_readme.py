"""The README's commands can be found, and are commands that exist."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from neon_compose.cli.app import app
from tests.readme import README, Session, sessions

OURS = re.compile(r"neon-compose((?: [a-z]+)+)")


def test_a_session_is_its_commands_in_order() -> None:
    text = "words\n\n```console\n$ one\nprinted\n$ two \\\n>   more\n$ three\n```\n"
    assert sessions(text) == [Session(3, ("one", "two \\\n  more", "three"))]


def test_other_blocks_are_no_sessions() -> None:
    assert sessions("```yaml\n$ a\n```\n\n```\n$ b\n```\n") == []


def test_marks_before_a_block_are_understood() -> None:
    text = "<!-- exits 4 -->\n```console\n$ a\n```\n<!-- not run: because -->\n```console\n$ b\n```\n"
    assert [(one.exit_code, one.not_run) for one in sessions(text)] == [(4, ""), (0, "because")]


@pytest.mark.parametrize("text", ["```console\nprinted\n```\n", "<!-- hm -->\n```console\n$ a\n```\n"])
def test_a_block_that_can_not_be_understood_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        sessions(text)


def test_the_api_of_another_stack_takes_the_place_of_the_default_one() -> None:
    script = Session(1, ("curl localhost:3000/pgs", "curl http://localhost:3000/")).script(
        "http://127.0.0.1:3001"
    )
    assert script == "curl http://127.0.0.1:3001/pgs\ncurl http://127.0.0.1:3001/\n"


def test_every_command_the_readme_shows_exists() -> None:
    root = get_command(app)
    shown = [
        match[1].split() for one in sessions(README.read_text()) for match in OURS.finditer(one.script())
    ]
    assert len(shown) > 20
    for words in shown:
        group = root.commands.get(words[0])  # type: ignore[attr-defined]
        assert group is not None, words
        if hasattr(group, "commands"):
            assert words[1] in group.commands, words


def test_every_command_of_the_program_is_shown_or_in_its_help() -> None:
    text = README.read_text()
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert name in text, name
