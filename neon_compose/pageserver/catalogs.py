"""What a server that was opened at a moment says of its databases and tables.

Of tables those that layers have: permanent ones, with materialized views, sequences and pg_largeobject, which
holds users' data though it lies among the catalogs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from psycopg.sql import SQL, Identifier, Literal

from neon_compose.layer.compare import Relation

Execute = Callable[[str, str], list[tuple[object, ...]]]  # in a database, a statement

# A limit of -2 is that of a database whose drop was cut off. template0 is as initdb made it.
_DATABASES = """
SELECT datname::text, oid::int8, datallowconn
FROM pg_database WHERE datname <> 'template0' AND datconnlimit <> -2 ORDER BY 1"""

_PREPARED = "SELECT database::text, gid FROM pg_prepared_xacts"

# A row per file: of a table itself, of its TOAST table, of the index of that, and of its indexes.
_TABLES = """
SELECT n.nspname || '.' || c.relname,
       CASE c.relkind WHEN 'r' THEN 'table' WHEN 'm' THEN 'materialized view' ELSE 'sequence' END,
       part.name, part.is_index, pg_relation_filenode(part.oid)::int8
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT c.oid, '' AS name, false AS is_index
    UNION ALL SELECT c.reltoastrelid, 'toast', false WHERE c.reltoastrelid <> 0
    UNION ALL SELECT indexrelid, 'toast index', false FROM pg_index WHERE indrelid = c.reltoastrelid
    UNION ALL SELECT indexrelid, i.relname::text, true
              FROM pg_index JOIN pg_class i ON i.oid = indexrelid WHERE indrelid = c.oid) part
WHERE c.relpersistence = 'p' AND c.relkind IN ('r', 'm', 'S')
  AND (n.nspname NOT IN ('pg_catalog', 'information_schema') OR c.oid = 'pg_largeobject'::regclass)
ORDER BY 1, 3"""


@dataclass(frozen=True)
class Database:
    name: str
    oid: int


@dataclass
class Table:
    """Its files, and those of its indexes, each by a name that lasts when the file is another."""

    kind: str
    files: dict[str, Relation] = field(default_factory=dict)
    indexes: dict[str, Relation] = field(default_factory=dict)


def databases(execute: Execute) -> list[Database]:
    """All there are; those that let nobody in do so from now on, which only this server knows."""
    found = []
    for name, oid, is_open in cast("list[tuple[str, int, bool]]", execute("postgres", _DATABASES)):
        found.append(Database(name, oid))
        if not is_open:
            allow = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(Identifier(name))
            execute("postgres", allow.as_string(None))
    return found


def tables(execute: Execute, database: Database) -> dict[str, Table]:
    """By schema and name."""
    rows = cast("list[tuple[str, str, str, bool, int]]", execute(database.name, _TABLES))
    found: dict[str, Table] = {}
    for name, kind, part, is_index, file in rows:
        table = found.setdefault(name, Table(kind))
        (table.indexes if is_index else table.files)[part] = Relation(database.oid, file)
    return found


def end_prepared(execute: Execute) -> None:
    """Roll back prepared transactions: nobody could read what they have locked."""
    for database, gid in cast("list[tuple[str, str]]", execute("postgres", _PREPARED)):
        execute(database, SQL("ROLLBACK PREPARED {}").format(Literal(gid)).as_string(None))
