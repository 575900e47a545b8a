"""Which stack a call is about, and which stack file (DESIGN 11).

The stack is `--stack`, else NEON_COMPOSE_STACK, else `name:` of the nearest stack file upwards, else that
file's folder, else `neon`. Only the one line is read here: most commands need nothing else of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from neon_compose import settings
from neon_compose.errors import Invalid, NotFound
from neon_compose.model.names import Name, parse_name

FILE_NAME = "neon-compose.yaml"
DEFAULT_STACK = Name("neon")

_NAME_LINE = re.compile(r"""^name[ \t]*:[ \t]*(["']?)([^\s"'#]*)\1[ \t]*(?:#.*)?$""", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """The stack, and its file if there is one."""

    stack: Name
    file: Path | None


def choose(flag: str | None, file: Path | None, folder: Path) -> Choice:
    """The stack for `--stack flag`, `-f file` and the current `folder`. Raises `Invalid`, `NotFound`."""
    if file is not None and not file.is_file():
        raise NotFound(f"stack file {str(file)!a} does not exist", code="no_stack_file")
    file = file.absolute() if file is not None else nearest_file(folder)
    wanted = flag if flag is not None else settings.text("NEON_COMPOSE_STACK") or None
    if wanted is not None:
        return Choice(parse_name(wanted, "stack"), file)
    if file is None:
        return Choice(DEFAULT_STACK, None)
    return Choice(_named_by(file) or _from_folder(file.parent), file)


def nearest_file(folder: Path) -> Path | None:
    """The stack file in `folder` or the nearest folder above that has one."""
    for one in (folder, *folder.parents):
        candidate = one / FILE_NAME
        if candidate.is_file():
            return candidate
    return None


def _named_by(file: Path) -> Name | None:
    try:
        match = _NAME_LINE.search(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"could not read stack file {str(file)!a}", detail=f"{error}.", code="bad_stack_file"
        ) from error
    return parse_name(match[2], "stack") if match and match[2] not in ("", "null", "~") else None


def _from_folder(folder: Path) -> Name:
    """A folder's name made to fit the rule for names."""
    text = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).lstrip("-0123456789")[:40].strip("-")
    return parse_name(text, "stack") if text else DEFAULT_STACK
