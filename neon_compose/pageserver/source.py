"""A running server to import from: what it is, and how its databases can come.

Owns the choice between a base backup and a dump, each refusal that can be known before a byte is copied,
and the translation of libpq's errors. Does not copy (fetch.py).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from neon_compose.errors import Invalid, NeonError, NotFound, Unavailable
from neon_compose.model.origin import Server
from neon_compose.pageserver.restore import has_locale
from neon_compose.wire.fetching import SOCKET_FOLDER, Via

OLDEST = 90200  # what pg_dump 17 can dump
_CONNECT_S = "15"
_EXTENSIONS = Path("/usr/share/postgresql/17/extension")
_LOOPBACK = {"localhost", "::1", ""}

_ROLE = "SELECT rolsuper OR rolreplication, rolsuper FROM pg_roles WHERE rolname = current_user"
_PLACES = "SELECT oid::bigint, pg_tablespace_location(oid) FROM pg_tablespace WHERE oid NOT IN (1663, 1664)"
_LOCALES = """
SELECT DISTINCT l FROM pg_database, unnest(ARRAY[datcollate, datctype]) l
WHERE datname <> 'template0' AND datallowconn"""
_SIZES = (
    "SELECT current_setting('block_size'), current_setting('segment_size'), current_setting('wal_block_size')"
)


@dataclass(frozen=True)
class Found:
    """What a server said of itself."""

    version: int  # 170011
    database: str
    via: Via
    places: dict[int, str] = field(default_factory=dict)  # tablespaces, for a base backup
    notes: list[str] = field(default_factory=list)

    @property
    def major(self) -> str:
        """As people write it: 17, 9.6."""
        whole, rest = divmod(self.version, 10000)
        return str(whole) if whole >= 10 else f"{whole}.{rest // 100}"


def conninfo(server: Server, passfile: Path, database: str | None = None) -> str:
    """For libpq in the fetching container, where the socket's folder is mounted at a place of its own."""
    options: dict[str, Any] = {"connect_timeout": _CONNECT_S, **server.options, "passfile": str(passfile)}
    if server.socket_folder is not None:
        options["host"] = SOCKET_FOLDER
    if database is not None:
        options["dbname"] = database
    return make_conninfo(**options, application_name="neon-compose import")


def look(server: Server, passfile: Path, major: int) -> Found:
    """Ask the server what it is. Raises `Invalid`, `NotFound` or `Unavailable` in words about the source."""
    try:
        with psycopg.connect(conninfo(server, passfile), autocommit=True) as session:
            return _look(session, major)
    except psycopg.Error as error:
        raise refused(str(error), server) from error


def _look(session: psycopg.Connection[Any], major: int) -> Found:
    version, database = session.info.server_version, session.info.dbname
    dump = Found(version, database, Via.DUMP)
    if version < OLDEST or version // 10000 > major:
        raise Invalid(
            f"the source is Postgres {dump.major}",
            detail=f"Servers from 9.2 to {major} can be imported.",
            code="source_version",
        )
    _refuse_extensions(session)
    if version // 10000 != major:
        return _noted(dump, f"the source is Postgres {dump.major}: its database {database} comes by pg_dump")
    why = _why_no_backup(session)
    if why:
        return _noted(dump, f"{why}: database {database} comes by pg_dump, without the others")
    places: dict[int, str] = dict(session.execute(_PLACES).fetchall())
    notes = []
    if places:
        notes.append("tablespaces are moved into pg_default: all data is in the storage")
    return Found(version, database, Via.BACKUP, places, notes)


def _why_no_backup(session: psycopg.Connection[Any]) -> str:
    """What keeps this server from being copied file by file, or an empty text."""
    role = session.execute(_ROLE).fetchone()
    if role is None or not role[0]:
        return f"role {session.info.user} may not replicate"
    if session.execute(_SIZES).fetchone() != ("8192", "1GB", "8192"):
        return "the source has other block sizes"
    locales = [row[0] for row in session.execute(_LOCALES).fetchall()]
    if missing := [name for name in locales if not has_locale(name)]:
        return f"locale {missing[0]} is not available here"
    return ""


def _refuse_extensions(session: psycopg.Connection[Any]) -> None:
    names = [row[0] for row in session.execute("SELECT extname FROM pg_extension ORDER BY 1").fetchall()]
    missing = [name for name in names if not (_EXTENSIONS / f"{name}.control").exists()]
    if missing:
        raise missing_extensions(missing, session.info.dbname)


def missing_extensions(names: list[str], database: str) -> Invalid:
    return Invalid(
        f'database "{database}" needs extensions that are not here: {", ".join(names)}',
        detail="The images hold only the extensions that come with Postgres itself.",
        hint="Dump it without them, or drop them in a copy first.",
        code="missing_extension",
    )


def _noted(found: Found, note: str) -> Found:
    found.notes.append(note)
    return found


# ---- libpq's errors ------------------------------------------------------------------------------

_PASSFILE = re.compile(r"\s*password retrieved from file .*")  # ours, which means nothing to people
_NO_REPLICATION = re.compile(
    r"no pg_hba\.conf entry for replication|pg_hba\.conf rejects replication"
    r"|must be superuser or replication role|permission denied to start WAL sender"
    r"|max_wal_senders|all replication slots are in use|wal_level"
)


def is_about_replication(said: str) -> bool:
    """Whether a base backup failed at something that a dump doesn't need."""
    return _NO_REPLICATION.search(said) is not None


def refused(said: str, server: Server) -> NeonError:
    """libpq's or a program's complaint, as an error about the source."""
    text = _PASSFILE.sub("", said).strip().replace(SOCKET_FOLDER, server.socket_folder or SOCKET_FOLDER)
    if "no password supplied" in text:
        return Invalid(
            "the source wants a password",
            detail=text,
            hint="Set PGPASSWORD, or put it into ~/.pgpass, or type it at the prompt of a terminal.",
            code="no_password",
        )
    if "authentication failed" in text:
        peer = "Peer" in text
        return Invalid(
            "the source refused the role",
            detail=text,
            hint="The import runs in a container, as another user than you: use -h localhost and a password."
            if peer
            else "Check the role's name and its password.",
            code="source_auth",
        )
    if re.search(r'(database|role) ".*" does not exist', text):
        return NotFound("the source has no such database or role", detail=text, code="no_source_database")
    if "pg_hba.conf" in text or "permission denied" in text:
        return Invalid("the source refused the connection", detail=text, code="source_auth")
    return Unavailable(
        "the source does not answer" if _is_reach(text) else "the source could not be read",
        detail=text,
        hint=_where(server),
        code="source_down" if _is_reach(text) else "source_failed",
    )


def _is_reach(text: str) -> bool:
    words = (
        "refused",
        "timeout expired",
        "could not translate",
        "resolve host",
        "No route",
        "unreachable",
        "No such file",
    )
    return any(word in text for word in words)


def _where(server: Server) -> str:
    local = server.host in _LOOPBACK or server.host.startswith(("127.", "/"))
    return "localhost is the machine that the Docker engine runs on." if local else ""


def write_passfile(path: Path, password: str | None) -> None:
    """A password file that answers for any server; empty without a password."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        if password:
            escaped = password.replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:*:{escaped}\n")
