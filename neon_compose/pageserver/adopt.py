"""A foreign data directory in scratch becomes a cluster of ours: what a base backup or a stopped server left.

Owns what is changed on the way, and the notes that say so. In this order, in a scratch Postgres without
subscriptions, archiving and preloaded libraries:
    replay to the end (Cluster.adopt) · libraries checked · prepared transactions rolled back ·
    subscriptions dropped (a copy must never use up its source's slots) · indexes rebuilt where the C library
    or ICU sorts differently here · tablespaces moved into pg_default and dropped
After its clean stop: data checksums on, 4 MiB WAL segments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from neon_compose.errors import Invalid, NeonError, Unavailable
from neon_compose.pageserver.jobs import Job
from neon_compose.pageserver.restore import DEFAULT_DATABASE
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.programs import ProgramFailed
from neon_compose.postgres.server import ScratchPostgres
from neon_compose.postgres.versions import WAL_SEGMENT_MB

QUIET: dict[str, str] = {
    "max_logical_replication_workers": "0",
    "event_triggers": "off",
    "max_worker_processes": "8",
    "jit": "off",
}
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY 1"
_LIBRARIES = """
SELECT DISTINCT coalesce(e.extname, p.probin), p.probin
FROM pg_proc p
     LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
     LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE p.probin IS NOT NULL"""
_LIBRARY = re.compile(r"\$libdir/([\w-]+)(?:\.so)?")
_PREPARED = "SELECT gid, database FROM pg_prepared_xacts ORDER BY 1"
_SUBSCRIPTIONS = """
SELECT s.subname, d.datname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid ORDER BY 1"""
_UNLOGGED = "SELECT count(*) FROM pg_class WHERE relpersistence = 'u' AND relkind IN ('r', 'm')"
_SPACES = "SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1"
_DATABASE_SPACES = """
SELECT d.datname, s.spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = d.dattablespace
WHERE s.spcname <> 'pg_default' ORDER BY 1"""
_SORTS_DIFFERENTLY = """
SELECT coalesce(datcollversion <> pg_database_collation_actual_version(oid), false)
    OR EXISTS (SELECT FROM pg_collation c JOIN pg_depend d ON d.refclassid = 'pg_collation'::regclass
               AND d.refobjid = c.oid WHERE c.collversion <> pg_collation_actual_version(c.oid))
FROM pg_database WHERE datname = current_database()"""
_MOVED = ("TABLE", "INDEX", "MATERIALIZED VIEW")

# Postgres's own words for a cluster that can't be opened here.
_LOCALE = re.compile(r"database locale is incompatible|could not open collator|locale name .* is not valid")


def settings_for(pgdata: Path, filling: Mapping[str, str]) -> dict[str, str]:
    """How the scratch server runs over `pgdata`: `filling`, and room for what its WAL may hold."""
    control = ControlFile.read(pgdata / "global" / "pg_control")
    two_segments = f"{2 * control.wal_segment_size >> 20}MB"
    return {
        **filling,
        **QUIET,
        "min_wal_size": two_segments,
        "max_prepared_transactions": str(control.limits.max_prepared_transactions),
    }


def take_over(cluster: ScratchPostgres, password: str, settings: Mapping[str, str], job: Job) -> None:
    """Replay the data directory at `cluster.pgdata` to its end, with our role in it."""
    try:
        cluster.adopt(password, settings, job.check)
    except ProgramFailed as failure:
        raise _unopened(failure.last_lines) from failure


def settle(cluster: ScratchPostgres, libraries: Path, job: Job) -> None:
    """Make what is in the running cluster fit for a storage. Raises `Invalid` for what can't be."""
    databases = [str(row[0]) for row in cluster.execute(DEFAULT_DATABASE, _DATABASES)]
    for database in databases:
        _check_libraries(cluster, database, libraries)
    _roll_back_prepared(cluster, job)
    _drop_subscriptions(cluster, job)
    for database in databases:
        job.check()
        _rebuild_indexes(cluster, database, job)
    _move_tablespaces(cluster, databases, job)
    unlogged = sum(int(str(cluster.execute(one, _UNLOGGED)[0][0])) for one in databases)
    if unlogged:
        job.note("adopt", f"{unlogged} unlogged tables are empty now, as after a crash")


def convert(cluster: ScratchPostgres, job: Job) -> None:
    """Bring a cleanly stopped cluster to our format: data checksums and WAL segments of 4 MiB."""
    control = ControlFile.read(cluster.pgdata / "global" / "pg_control")
    if control.data_checksum_version == 0:
        with job.step("checksums"):
            args = ["--enable", "--no-sync", f"--pgdata={cluster.pgdata}"]
            cluster.run("pg_checksums", args, watch=lambda _: job.check())
    if control.wal_segment_size != WAL_SEGMENT_MB << 20:
        args = [f"--wal-segsize={WAL_SEGMENT_MB}", f"--pgdata={cluster.pgdata}"]
        cluster.run("pg_resetwal", args, watch=lambda _: job.check())


def words_of(error: NeonError) -> NeonError:
    """What went wrong in a scratch server over a foreign cluster, as an error about that cluster."""
    if isinstance(error, Unavailable) and _LOCALE.search(error.detail):
        return _unopened(error.detail)
    return error


def _unopened(said: str) -> Invalid:
    lines = [line for line in said.splitlines() if "FATAL" in line or "DETAIL" in line or "PANIC" in line]
    about_locale = _LOCALE.search(said) is not None
    return Invalid(
        "the cluster needs a locale that is not here" if about_locale else "the cluster could not be opened",
        detail="\n".join(lines[-4:] or said.splitlines()[-4:]),
        hint="Start it and make a dump: pg_dump -Fc, then --import DUMP." if about_locale else "",
        code="missing_locale" if about_locale else "bad_cluster",
    )


def _check_libraries(cluster: ScratchPostgres, database: str, libraries: Path) -> None:
    missing = set()
    for extension, probin in cluster.execute(database, _LIBRARIES):
        library = _LIBRARY.fullmatch(str(probin))
        if library is None or not (libraries / f"{library[1]}.so").exists():
            missing.add(str(extension))
    if missing:
        raise Invalid(
            f'database "{database}" needs extensions that are not here: {", ".join(sorted(missing))}',
            detail="The images hold only the extensions that come with Postgres itself.",
            hint="Dump it without them, or drop them in a copy first.",
            code="missing_extension",
        )


def _roll_back_prepared(cluster: ScratchPostgres, job: Job) -> None:
    for gid, database in cluster.execute(DEFAULT_DATABASE, _PREPARED):
        job.note("adopt", f"prepared transaction {gid} of database {database} is rolled back")
        cluster.execute(str(database), f"ROLLBACK PREPARED {_literal(str(gid))}")


def _drop_subscriptions(cluster: ScratchPostgres, job: Job) -> None:
    for name, database in cluster.execute(DEFAULT_DATABASE, _SUBSCRIPTIONS):
        job.note("adopt", f"subscription {name} of database {database} is left out")
        quoted = _quoted(str(name))
        for statement in ("DISABLE", "SET (slot_name = NONE)"):
            cluster.execute(str(database), f"ALTER SUBSCRIPTION {quoted} {statement}")
        cluster.execute(str(database), f"DROP SUBSCRIPTION {quoted}")


def _rebuild_indexes(cluster: ScratchPostgres, database: str, job: Job) -> None:
    """Where the sort order may be another one than where the indexes were built."""
    if cluster.execute(database, _SORTS_DIFFERENTLY)[0][0]:
        job.note("adopt", f"indexes of database {database} are rebuilt: its locale may sort differently here")
        cluster.execute(database, f"REINDEX DATABASE {_quoted(database)}")
        cluster.execute(database, f"ALTER DATABASE {_quoted(database)} REFRESH COLLATION VERSION")
        for name in cluster.execute(database, _OLD_COLLATIONS):
            with suppress(Unavailable):  # one whose locale is missing can't be in use
                cluster.execute(database, f"ALTER COLLATION {name[0]} REFRESH VERSION")


_OLD_COLLATIONS = """
SELECT format('%I.%I', nspname, collname) FROM pg_collation c JOIN pg_namespace n ON n.oid = collnamespace
WHERE collversion <> pg_collation_actual_version(c.oid)"""


def _move_tablespaces(cluster: ScratchPostgres, databases: list[str], job: Job) -> None:
    spaces = [str(row[0]) for row in cluster.execute(DEFAULT_DATABASE, _SPACES)]
    if not spaces:
        return
    with job.step("tablespaces"):
        _move_databases(cluster)
        for space in spaces:
            for database in databases:
                for kind in _MOVED:
                    move = f"ALTER {kind} ALL IN TABLESPACE {_quoted(space)} SET TABLESPACE pg_default"
                    cluster.execute(database, move)
            cluster.execute(DEFAULT_DATABASE, f"DROP TABLESPACE {_quoted(space)}")


def _move_databases(cluster: ScratchPostgres) -> None:
    for name, space in cluster.execute(DEFAULT_DATABASE, _DATABASE_SPACES):
        database, place = str(name), _quoted(str(space))
        for kind in _MOVED:  # what lies in pg_default already would be in the database's way
            cluster.execute(database, f"ALTER {kind} ALL IN TABLESPACE pg_default SET TABLESPACE {place}")
        elsewhere = "template1" if database == DEFAULT_DATABASE else DEFAULT_DATABASE
        cluster.execute(elsewhere, f"ALTER DATABASE {_quoted(database)} SET TABLESPACE pg_default")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
