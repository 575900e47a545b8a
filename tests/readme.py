"""The commands of README.md, so that a test can run every one of them.

A fenced block marked `console` is a session: lines that begin with `$ ` are commands (a line ending in a
backslash goes on in the next), all others show what such a command prints and are not compared. A comment
before a block says what is special about it:

    <!-- not run: why -->     it is shown, not run
    <!-- exits 4 -->          its last command ends with that code

Blocks run in order, in one folder, each by one `bash -e`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_EXITS = re.compile(r"exits (\d+)")
_NOT_RUN = re.compile(r"not run: (.+)")


@dataclass(frozen=True)
class Session:
    """One block. `line` is where it begins; `not_run` says why it isn't run."""

    line: int
    commands: tuple[str, ...]
    exit_code: int = 0
    not_run: str = ""

    def script(self, api: str = "http://localhost:3000") -> str:
        """What `bash -e` gets; `api` takes the place of localhost:3000."""
        text = "\n".join(self.commands) + "\n"
        return text.replace("http://localhost:3000", api).replace("localhost:3000", api)


def sessions(text: str) -> list[Session]:
    """All console blocks in order. Raises `ValueError` for one without a command and for an unknown mark."""
    found = []
    for match in _BLOCK.finditer(text):
        if match["language"] != "console":
            continue
        line = text.count("\n", 0, match.start()) + 1
        commands = _commands(match["body"])
        if not commands:
            raise ValueError(f"line {line}: a console block without a command")
        exits, not_run = _marks(match["mark"], line)
        found.append(Session(line, commands, exits, not_run))
    return found


def _commands(body: str) -> tuple[str, ...]:
    commands: list[str] = []
    goes_on = False
    for line in body.splitlines():
        if goes_on:
            commands[-1] += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
        else:
            continue
        goes_on = commands[-1].endswith("\\")
    return tuple(commands)


def _marks(mark: str | None, line: int) -> tuple[int, str]:
    if mark is None:
        return 0, ""
    if match := _EXITS.fullmatch(mark):
        return int(match[1]), ""
    if match := _NOT_RUN.fullmatch(mark):
        return 0, match[1]
    raise ValueError(f"line {line}: the comment {mark!r} before a console block says nothing we know")
