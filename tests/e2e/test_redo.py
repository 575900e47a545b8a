"""Redo jobs of a running branch: its WAL becomes layers, and branches of it open over those."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack

PARTS = "minio: false\nsafekeepers: 1\nstorages: {main: {}}\npgs: {main: {storage_name: main}}\n"
PYTHON = "/opt/neon/bin/python"
_REDO = """
import json
from neon_compose import settings
from neon_compose.wire.pageserver_client import PageserverClient
with PageserverClient("http://127.0.0.1:6400", settings.secret_file("NEON_TOKEN_FILE")) as client:
    print(json.dumps(list(client.redo("main"))[-1].result))
"""
COUNT = "select count(*), sum(length(t)) from hay"


def redo(stack: Stack) -> dict[str, Any]:
    status, said = stack.container("storage_main").exec_run([PYTHON, "-c", _REDO])
    assert status == 0, said.decode()
    found: dict[str, Any] = json.loads(said)
    return found


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
        made = redo(stack)
        assert len(made["layers"]) == 1, made
        stack.cli("branch", "create", name, "--from", "main/main")
        assert stack.sql(name, COUNT) == before
    assert redo(stack)["layers"] == []
    stack.cli("pg", "restart", "main")  # on the layers it was laid out on
    assert stack.sql("main", COUNT) == stack.sql("two", COUNT)
    assert stack.sql("one", COUNT) != stack.sql("two", COUNT)
