"""What lets the gate in when SQL has locked neon_admin out of its own server.

A superuser may give neon_admin another password, let it expire, or drop or close the database `postgres`;
restoring the output of another stack's pg_dumpall does. Nobody but neon_admin gets in before the gate opens,
so without this such a pg, and every branch made of it, could never be opened again.

While the gate is closed pg_hba has one line for the database `template1`, by which the operating system's
user of our containers gets in over the Unix socket, without a password (peer). It is used for nothing but
putting back what a storage promises. Not handled, and said as an error: a role that is gone, or that isn't
a superuser or may not log in any more; only single-user mode could help there.
"""

from __future__ import annotations

import logging

import psycopg
from psycopg import sql

from neon_compose.compute.paths import ComputePaths
from neon_compose.errors import Unavailable
from neon_compose.postgres.refusals import DATABASE
from neon_compose.postgres.server import ADMIN

DOOR = "template1"  # is in every cluster
MAP = "neon_compose"
HBA = f"local {DOOR} {ADMIN} peer map={MAP}\n"
IDENT = f"{MAP} neon {ADMIN}\n"  # the user of our images

_log = logging.getLogger(__name__)
# Commits don't wait for safekeepers, who may be locked out too.
_OPTIONS = (
    "-c synchronous_commit=local -c event_triggers=off -c search_path=pg_catalog -c statement_timeout=30s"
)


def readmit(paths: ComputePaths, port: int, password: str, refusal: str) -> None:
    """Give neon_admin its password and its database again. Raises `Unavailable` code "locked_out"."""
    try:
        with psycopg.connect(
            host=str(paths.run), port=port, user=ADMIN, dbname=DOOR, autocommit=True, options=_OPTIONS
        ) as session:
            _put_back(session, password)
    except psycopg.Error as error:
        raise locked_out(f"{refusal} {str(error).strip()}") from error
    _log.warning("role %s was locked out of its server, and is let in again: %s", ADMIN, refusal)


def locked_out(why: str) -> Unavailable:
    return Unavailable(
        f'role "{ADMIN}" can\'t log in to its server',
        detail=why,
        hint="SQL has changed it: it has to stay a superuser who may log in. Restore the branch to a moment "
        "before that, or make another from there.",
        code="locked_out",
    )


def _put_back(session: psycopg.Connection[tuple[object, ...]], password: str) -> None:
    # As a verifier: a statement that fails is in the server's log as it came.
    verifier = session.pgconn.encrypt_password(password.encode(), ADMIN.encode(), b"scram-sha-256").decode()
    role, database = sql.Identifier(ADMIN), sql.Identifier(DATABASE)
    session.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {} VALID UNTIL 'infinity'").format(role, sql.Literal(verifier))
    )
    there = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
    if there is None:
        session.execute(sql.SQL("CREATE DATABASE {}").format(database))
    session.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))
