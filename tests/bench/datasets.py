"""The databases that are branched: made by pgbench, or many small relations."""

from __future__ import annotations

from dataclasses import dataclass

ROWS_PER_SCALE = 100_000
_RELATIONS_PER_TABLE = 4  # the table, its primary key, its TOAST table and that one's index
_TABLES_PER_TRANSACTION = 250  # so that the lock table of default settings is large enough


@dataclass(frozen=True)
class Dataset:
    """`name` also names the storage and the volume. Either `scale` or `relations` is 0."""

    name: str
    title: str
    scale: int = 0
    relations: int = 0

    @property
    def accounts(self) -> int:
        return self.scale * ROWS_PER_SCALE

    @property
    def script(self) -> str:
        """Shell that fills the database `postgres`, with PGHOST and PGUSER set."""
        if self.scale:
            return f"pgbench -qi -s {self.scale} postgres 2>&1 | tail -1"
        return f"psql -qv ON_ERROR_STOP=1 postgres <<'SQL'\n{self._tables()}\nSQL"

    def _tables(self) -> str:
        tables = self.relations // _RELATIONS_PER_TABLE
        blocks = []
        for first in range(0, tables, _TABLES_PER_TRANSACTION):
            last = min(first + _TABLES_PER_TRANSACTION, tables) - 1
            blocks.append(
                "do $$ declare n int; begin\n"
                f"for n in select generate_series({first}, {last}) loop\n"
                "execute format('create table t%s (id int primary key, body text)', n);\n"
                "execute format('insert into t%s select i, md5(i::text) from generate_series(1, 50) i', n);\n"
                "end loop; end $$;"
            )
        return "\n".join(blocks)


def pgbench(scale: int) -> Dataset:
    return Dataset(f"s{scale}", f"pgbench scale {scale}", scale=scale)


def relations(count: int) -> Dataset:
    return Dataset(f"r{count}", f"{count:,} relations", relations=count)


SMALL = pgbench(7)
MIDDLE = pgbench(68)
LARGE = pgbench(342)
FEW_RELATIONS = relations(300)
MANY_RELATIONS = relations(10_000)
