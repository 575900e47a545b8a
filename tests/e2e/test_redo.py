"""Redo jobs of a running branch: its WAL becomes layers, and branches of it open over those."""

from __future__ import annotations

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack

PARTS = "minio: false\nsafekeepers: 1\nstorages: {main: {}}\npgs: {main: {storage_name: main}}\n"
COUNT = "select count(*), sum(length(t)) from hay"


def write(stack: Stack, rows: int) -> None:
    for query in (
        "create table if not exists hay (t text)",
        f"insert into hay select repeat(md5(n::text), 20) from generate_series(1, {rows}) n",
        "update hay set t = t || 'x' where ctid < '(10,0)'",
        "checkpoint",
        "insert into hay values ('the last')",
    ):
        stack.cli("psql", "main", "--", "-c", query)


def test_branches_of_a_running_branch_open_over_the_layers_it_got(make_stack: StackMaker) -> None:
    stack = make_stack(PARTS)
    stack.up()
    for name in ("one", "two"):
        write(stack, 3000)
        before = stack.sql("main", COUNT)
        made = stack.redo("main", "main")
        assert len(made["layers"]) == 1, made
        stack.cli("branch", "create", name, "--from", "main/main")
        assert stack.sql(name, COUNT) == before
    assert stack.redo("main", "main")["layers"] == []
    stack.cli("pg", "restart", "main")  # on the layers it was laid out on
    assert stack.sql("main", COUNT) == stack.sql("two", COUNT)
    assert stack.sql("one", COUNT) != stack.sql("two", COUNT)
