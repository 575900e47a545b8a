"""Restoring a spooled dump into the scratch server with Postgres's own programs.

A dump of one database goes into `postgres`, unless its SQL makes a database itself (pg_dump -C,
pg_dumpall). Roles it names and doesn't make are created NOLOGIN first. Everything stops at the first
error: a database with a part missing is worse than none.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from neon_compose.errors import Invalid, NeonError
from neon_compose.pageserver import script
from neon_compose.pageserver.dump import Dump, Format
from neon_compose.pageserver.jobs import Job
from neon_compose.postgres.programs import ProgramFailed
from neon_compose.postgres.server import ScratchPostgres

DEFAULT_DATABASE = "postgres"

_VERSION = re.compile(r"[Dd]umped (from|by)[^\n]*?version:? (\d+)")
_NEWER_ARCHIVE = re.compile(r"unsupported version \(([\d.]+)\) in file header")
_ERROR_LINE = re.compile(r"(?:error|ERROR|FATAL): ")
_HEAD_BYTES = 64 * 1024


_libc = ctypes.CDLL(None)
_LC_COLLATE_MASK = 1 << 3  # glibc's <bits/locale.h>


@dataclass(frozen=True)
class Restored:
    """Which database a URL should name."""

    default_database: str


def restore(
    dump: Dump,
    server: ScratchPostgres,
    scratch: Path,
    major: int,
    has_locale: script.HasLocale,
    job: Job,
    database: str = DEFAULT_DATABASE,
) -> Restored:
    """Fill the running `server` from `dump`, an archive into `database`, which is made if it isn't there.
    Raises `Invalid` code "bad_dump" naming what is wrong."""
    if dump.format is Format.PLAIN:
        return _restore_script(dump, server, major, has_locale, job)
    if database != DEFAULT_DATABASE:
        quoted = '"' + database.replace('"', '""') + '"'
        server.execute(DEFAULT_DATABASE, f"CREATE DATABASE {quoted} TEMPLATE template0")
    return _restore_archive(dump, server, scratch, major, has_locale, job, database)


# ---- plain ---------------------------------------------------------------------------------------


def _restore_script(
    dump: Dump, server: ScratchPostgres, major: int, has_locale: script.HasLocale, job: Job
) -> Restored:
    with dump.path.open("rb") as file:
        check_versions(file.read(_HEAD_BYTES).decode(errors="replace"), major)
    with job.step("survey"):
        found = script.survey_file(dump.path, has_locale)
        script.blank(dump.path, found.blanks)
    for note in found.notes:
        job.note("restore", note)
    args = [
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
        "--dbname",
        DEFAULT_DATABASE,
    ]
    with job.step("restore"), with_roles(server, found.needed_roles), dump.path.open("rb") as source:
        watch = watch_bytes(dump.size_bytes, job)
        try:
            server.run("psql", [*args, f"--dbname={DEFAULT_DATABASE}", "--file=-"], watch=watch, stdin=source)
        except ProgramFailed as failure:
            raise refused(failure) from failure
    made = found.databases
    return Restored(made[0] if len(made) == 1 else DEFAULT_DATABASE)


# ---- archives ------------------------------------------------------------------------------------


def _restore_archive(
    dump: Dump,
    server: ScratchPostgres,
    scratch: Path,
    major: int,
    has_locale: script.HasLocale,
    job: Job,
    database: str,
) -> Restored:
    with job.step("survey"):
        schema = scratch / "schema.sql"
        try:
            toc = scratch / "toc"
            server.run(
                "pg_restore",
                ["--list", f"--file={toc}", str(dump.path)],
                watch=lambda _: job.check(),
            )
            check_versions(toc.read_text(errors="replace"), major)
            server.run(
                "pg_restore",
                ["--schema-only", "--no-tablespaces", f"--file={schema}", str(dump.path)],
                watch=lambda _: job.check(),
            )
        except ProgramFailed as failure:
            raise refused(failure) from failure
        roles = script.survey_file(schema, has_locale).needed_roles
    parallel = [] if dump.format is Format.TAR else [f"--jobs={cpu_count()}"]  # a tar is read in one go
    args = ["--exit-on-error", "--no-tablespaces", f"--dbname={_named(database)}", *parallel, str(dump.path)]
    with job.step("restore"), with_roles(server, roles):
        try:
            server.run("pg_restore", args, watch=watch_bytes(dump.size_bytes, job))
        except ProgramFailed as failure:
            raise refused(failure) from failure
    return Restored(database)


def _named(database: str) -> str:
    """A database's name where a program would take some for a connection string."""
    return make_conninfo(dbname=database)


# ---- what both need ------------------------------------------------------------------------------


@contextmanager
def with_roles(server: ScratchPostgres, names: set[str]) -> Iterator[None]:
    """Have the roles a dump names and doesn't make; they can't log in.

    While the dump is restored they are superusers: refreshing a materialized view and building an index
    on a function run as the owner, who may have been a superuser where the dump comes from. `postgres`,
    which is one nearly everywhere, stays one.
    """
    there = {row[0] for row in server.execute(DEFAULT_DATABASE, "SELECT rolname FROM pg_roles")}
    made = ['"' + name.replace('"', '""') + '"' for name in sorted(names - there)]
    for role in made:
        server.execute(DEFAULT_DATABASE, f"CREATE ROLE {role} NOLOGIN SUPERUSER")
    yield
    for role in made:
        if role != '"postgres"':
            server.execute(DEFAULT_DATABASE, f"ALTER ROLE {role} NOSUPERUSER")


def check_versions(text: str, major: int) -> None:
    """Raise `Invalid` when a dump's header says that its server was of a newer major."""
    for what, number in _VERSION.findall(text):
        if what == "from" and int(number) > major:
            raise _newer(f"It was dumped from Postgres {number}.", major)


def _newer(detail: str, major: int | None = None) -> Invalid:
    ours = f" Postgres {major}" if major else " the storage's Postgres"
    return Invalid(
        "the dump is of a newer Postgres",
        detail=detail,
        hint=f"A storage takes dumps of{ours} and older.",
        code="newer_dump",
    )


def refused(failure: ProgramFailed) -> NeonError:
    """What a program said about a dump, as an error about the dump."""
    if newer := _NEWER_ARCHIVE.search(failure.last_lines):
        return _newer(f"Its archive version is {newer[1]}.")
    lines = failure.last_lines.splitlines()
    first = next((n for n, line in enumerate(lines) if _ERROR_LINE.search(line)), max(0, len(lines) - 5))
    said = "\n".join(lines[first : first + 8])
    if "end of file" in said or "could not find block ID" in said or "unexpected end" in said:
        return Invalid("the dump is truncated", detail=said, hint="Make the dump again.", code="bad_dump")
    return Invalid("the dump could not be restored", detail=said, hint=_hint(said), code="bad_dump")


def _hint(said: str) -> str:
    if extension := re.search(r'extension "([^"]+)" is not available', said):
        return (
            f'The images hold only extensions of Postgres itself, so "{extension[1]}" must go from the dump.'
        )
    if "syntax error" in said:
        return "Is it SQL for Postgres?"
    return ""


def watch_bytes(total_bytes: int, job: Job) -> Callable[[int], None]:
    """A watch that reports how much of the dump a program and its children have read.

    /proc/<pid>/io counts bytes read by a process and by children it has reaped; pg_restore's parallel
    workers read the dump, so living children count too. What they read from sockets and files besides
    is little; the sum is cut at the total.
    """

    def watch(pid: int) -> None:
        seen = sum(_bytes_read(one) for one in (pid, *_children(pid)))
        job.progress("restore", min(seen, total_bytes), total_bytes)

    return watch


def _bytes_read(pid: int) -> int:
    try:
        first = Path(f"/proc/{pid}/io").read_text().split("\n", 1)[0]
    except OSError:  # it has ended, or the kernel doesn't say
        return 0
    return int(first.removeprefix("rchar:"))


def _children(pid: int) -> Sequence[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def has_locale(name: str) -> bool:
    """Whether the C library has a locale; asks newlocale(3), since setlocale would change ours."""
    _libc.newlocale.restype = ctypes.c_void_p
    made = _libc.newlocale(_LC_COLLATE_MASK, name.encode(), None)
    if made:
        _libc.freelocale(ctypes.c_void_p(made))
    return bool(made)


def cpu_count() -> int:
    return max(1, len(os.sched_getaffinity(0)))
