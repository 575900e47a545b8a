"""The only reader of os.environ: what a process of ours is told from outside."""

from __future__ import annotations

import os
from pathlib import Path


def text(name: str, default: str = "") -> str:
    """The variable `name`, or `default` when it is unset or empty."""
    return os.environ.get(name) or default


def state_home() -> Path:
    """Where the CLI keeps URL and token of each stack (XDG base directory specification)."""
    base = text("XDG_STATE_HOME", str(Path.home() / ".local" / "state"))
    return Path(base) / "neon-compose"


def secret_file(name: str) -> str:
    """The content of the file that the variable `name` points to, without the line end."""
    return Path(os.environ[name]).read_text().rstrip("\n")
