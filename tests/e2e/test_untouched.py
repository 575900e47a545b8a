"""A branch that nobody wrote to has no writes, however long it runs."""

from __future__ import annotations

import psycopg
import pytest

from tests.e2e.stack import Stack

_WORK = """
select coalesce(sum(n_mod_since_analyze + n_ins_since_vacuum + n_dead_tup), 0)::int from pg_stat_all_tables
"""


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_autovacuum_finds_no_work_from_before_the_branch_began(shared: Stack, database: str) -> None:
    """Its commits would be writes: after a minute no branch could be made of this one any more."""
    name = f"idle-{database}"
    shared.cli("branch", "create", name, "--from", "main@init")
    with psycopg.connect(shared.url(name).rpartition("/")[0] + f"/{database}", autocommit=True) as session:
        assert session.execute(_WORK).fetchone() == (0,)
    assert shared.json("pg", "show", name)["has_writes"] is False
    shared.cli("pg", "stop", name)
    shared.cli("branch", "delete", f"main/{name}")
