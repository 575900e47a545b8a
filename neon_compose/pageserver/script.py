"""Looking into a dump's SQL before it runs: roles it needs, databases it makes, what can't work here.

Owns: `survey` (lines in, facts out) and `blank` (in place, on our own copy).
Does not parse SQL: pg_dump writes these statements on a line each, so lines are matched one by one. Rows
between `COPY … FROM stdin;` and `\\.` are skipped, so they can't be taken for statements. A statement of
another shape is not seen, and then Postgres's own error says what is missing.

Some statements of a dump can't be right in a storage and are overwritten with spaces, length kept:
tablespaces (there is one place for data here), the making of role neon_admin (it is there already,
with the storage's own password), and locales the image doesn't have (the database default is used).
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from neon_compose.postgres.server import ADMIN

HasLocale = Callable[[str], bool]
Span = tuple[int, int]

_WORDS = (b"ALTER ", b"COMMENT ON TABLESPACE ", b"CREATE ", b"DROP ", b"GRANT ", b"REVOKE ", b"SET ")
_COPY_BEGIN, _COPY_FROM, _COPY_END = b"COPY ", b" FROM stdin", b"\n\\.\n"

_IDENT = rb'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_LIST = _IDENT + rb"(?:, *" + _IDENT + rb")*"
_ROLE_USE = re.compile(
    rb"ALTER .* OWNER TO (?P<owner>" + _IDENT + rb");"
    rb"|(?:ALTER DEFAULT PRIVILEGES FOR ROLE (?P<grantor>" + _IDENT + rb") .*?)?"
    rb"(?:GRANT|REVOKE) .* (?:TO|FROM) (?P<grantee>" + _IDENT + rb").*;"
    rb"|CREATE POLICY .* TO (?P<policy>" + _LIST + rb").*"
    rb"|SET SESSION AUTHORIZATION '?(?P<session>" + _IDENT + rb")'?;"
    rb"|CREATE USER MAPPING FOR (?P<mapping>" + _IDENT + rb") .*"
    rb"|CREATE SCHEMA .*AUTHORIZATION (?P<schema>" + _IDENT + rb");"
    rb"|ALTER ROLE (?P<altered>" + _IDENT + rb") (?:IN DATABASE .*)?SET .*"
)
_ROLE_MADE = re.compile(rb"CREATE (?:ROLE|USER(?! MAPPING )|GROUP) (" + _IDENT + rb").*;")
_DATABASE_MADE = re.compile(rb"CREATE DATABASE (" + _IDENT + rb").*;")
_NOT_ROLES = {"public", "current_user", "session_user", "current_role", "default"}

_TABLESPACE = re.compile(
    rb"SET default_tablespace = (?!'').*;"
    rb"|(?:CREATE|ALTER|DROP|COMMENT ON) TABLESPACE .*;"
    rb"|(?:GRANT|REVOKE) .* ON TABLESPACE .*;"
    rb"|ALTER DATABASE .* SET TABLESPACE .*;"
)
_DATABASE_TABLESPACE = re.compile(rb" TABLESPACE = " + _IDENT)
_ADMIN_MADE = re.compile(
    rb'(?:CREATE|ALTER|DROP) ROLE (?:IF EXISTS )?"?' + ADMIN.encode() + rb'"?(?: WITH .*)?;'
)
_LOCALE = re.compile(rb" (?:LOCALE|LC_COLLATE|LC_CTYPE) = '([^']*)'")
_NO_TABLESPACES = "tablespaces are left out: all data is in the storage"


@dataclass
class Survey:
    """Facts about a script. Names are unquoted, as Postgres stores them."""

    used_roles: set[str] = field(default_factory=set)
    made_roles: set[str] = field(default_factory=set)
    databases: list[str] = field(default_factory=list)
    blanks: list[Span] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)  # in order, each once

    @property
    def needed_roles(self) -> set[str]:
        return self.used_roles - self.made_roles - {ADMIN}


def survey_file(path: Path, has_locale: HasLocale) -> Survey:
    """What to know before the script at `path` (not empty) runs."""
    found = Survey()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as script:
        for start, line in _statements(script):
            _look(start, line, has_locale, found)
    return found


def blank(path: Path, spans: list[Span]) -> None:
    """Overwrite the spans of a file with spaces."""
    with path.open("r+b") as file:
        for start, end in spans:
            file.seek(start)
            file.write(b" " * (end - start))


def unquote(identifier: bytes) -> str:
    """A name as Postgres stores it: folded to lower case unless it was quoted."""
    text = identifier.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.lower()


def _statements(script: mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """(offset, line without its end) of the lines that begin like one of ours, outside COPY data."""
    at = 0
    while line := script.readline():
        if line.startswith(_WORDS):
            yield at, line.rstrip(b"\r\n")
        elif line.startswith(_COPY_BEGIN) and _COPY_FROM in line:
            data_end = script.find(_COPY_END, at + len(line) - 1)
            if data_end < 0:
                return
            script.seek(data_end + len(_COPY_END))
        at = script.tell()


def _look(start: int, line: bytes, has_locale: HasLocale, found: Survey) -> None:
    if _ADMIN_MADE.fullmatch(line):
        found.blanks.append((start, start + len(line)))
    elif _TABLESPACE.fullmatch(line):
        found.blanks.append((start, start + len(line)))
        found.notes[_NO_TABLESPACES] = None
    elif database := _DATABASE_MADE.fullmatch(line):
        found.databases.append(unquote(database[1]))
        _look_at_database(start, line, has_locale, found)
    elif role := _ROLE_MADE.fullmatch(line):
        found.made_roles.add(unquote(role[1]))
    elif use := _ROLE_USE.fullmatch(line):
        found.used_roles.update(_names(use))


def _look_at_database(start: int, line: bytes, has_locale: HasLocale, found: Survey) -> None:
    for match in _DATABASE_TABLESPACE.finditer(line):
        found.blanks.append((start + match.start(), start + match.end()))
        found.notes[_NO_TABLESPACES] = None
    for match in _LOCALE.finditer(line):
        name = match[1].decode(errors="replace")
        if not has_locale(name):
            found.blanks.append((start + match.start(), start + match.end()))
            found.notes[f'locale "{name}" is not available: C.UTF-8 takes its place'] = None


def _names(use: re.Match[bytes]) -> set[str]:
    texts = [text for text in use.groupdict().values() if text is not None]
    names = {unquote(one) for text in texts for one in re.findall(_IDENT, text)}
    return {name for name in names if name not in _NOT_ROLES and not name.startswith("pg_")}
