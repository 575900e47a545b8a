"""What differs between two moments, from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from neon_compose.cli import diffs
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer

PAGES = {"before": 100, "after": 130, "changed": 44}
NONE = {"before": 0, "after": 0, "changed": 0}
DDL = "--- shop/main@0/1 postgres\n+++ shop/main@0/2 postgres\n@@ -1 +1,2 @@\n--- old\n+new\n kept\n"


def database(name: str = "postgres", change: str = "changed", **more: Any) -> dict[str, Any]:
    return {"name": name, "change": change, "ddl": "", "tables": []} | more


def table(name: str, change: str = "changed") -> dict[str, Any]:
    return {"name": name, "kind": "table", "change": change, "pages": PAGES, "index_pages": NONE}


def diff(*databases: dict[str, Any]) -> dict[str, Any]:
    moments = {"before": {"branch": "main", "lsn": "0/1"}, "after": {"branch": "main", "lsn": "0/2"}}
    return moments | {"databases": list(databases)}


@pytest.fixture
def answer(server: FakeServer) -> dict[str, Any]:
    """What the server will say; tests change it."""
    found = diff(database(ddl=DDL, tables=[table("public.orders"), table("public.new", "added")]))
    server.stream = [{"event": "step", "name": "compare", "state": "done", "ms": 3.0}, {"result": found}]
    return found


BRANCH, SNAPSHOT = "/storages/main/branches/main/actions", "/snapshots/main/one/actions"
AT_TEN = "2026-11-28T10:00:00+01:00"


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        ("branch diff main main@5m", BRANCH, {"with": "main@5m"}),
        ("branch diff main/main try", BRANCH, {"with": "try"}),
        ("branch diff main@0/1A other/x@one", BRANCH, {"with": "other/x@one", "at": "0/1A"}),
        (f"branch diff main@{AT_TEN} main", BRANCH, {"with": "main", "at": "2026-11-28T09:00:00Z"}),
        ("snapshot diff one two", SNAPSHOT, {"with": "two"}),
        ("snapshot diff main/one main@5m -s main", SNAPSHOT, {"with": "main@5m"}),
    ],
)
@pytest.mark.usefixtures("answer")
def test_a_diff_is_one_request(
    cli: Cli, server: FakeServer, words: str, path: str, body: dict[str, str]
) -> None:
    server.snapshot("main", "one")
    assert cli(*words.split()).code == 0
    assert server.changes() == [("POST", path, {}, {"action": "diff"} | body)]


@pytest.mark.usefixtures("answer")
def test_it_is_a_unified_diff_and_a_table_of_tables(cli: Cli) -> None:
    ran = cli("branch", "diff", "main@0/1", "main")
    assert ran.out.startswith(DDL)
    head, changed, added = ran.out.removeprefix(DDL).splitlines()
    assert head.split("  ")[0] == "DATABASE"
    assert changed.split() == [
        *("postgres", "public.orders", "changed", "800.0", "KiB", "1.0", "MiB", "44", "352.0", "KiB", "-")
    ]
    assert added.split()[2] == "added"
    assert "compare" in ran.err


def test_json_is_the_servers_document(cli: Cli, answer: dict[str, Any]) -> None:
    assert json.loads(cli("branch", "diff", "main@0/1", "main", "-o", "json").out) == answer


def test_databases_of_one_side_are_named(cli: Cli, answer: dict[str, Any]) -> None:
    answer["databases"] = [database("a", "added"), database("b", "removed")]
    assert cli("branch", "diff", "main@0/1", "main").out.splitlines() == [
        'database "a" is only at main@0/2',
        'database "b" is only at main@0/1',
    ]


def test_a_difference_is_an_exit_code_of_1_only_if_that_is_wanted(cli: Cli, answer: dict[str, Any]) -> None:
    words = ("branch", "diff", "main@0/1", "main")
    assert (cli(*words).code, cli(*words, "--exit-code").code) == (0, 1)
    answer["databases"] = []
    ran = cli(*words, "--exit-code")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.endswith("no difference between main@0/1 and main@0/2\n")


def test_an_error_has_its_own_exit_code(cli: Cli, server: FakeServer) -> None:
    problem = {"title": "no such moment", "kind": "not_found", "status": 404, "code": "no_such_moment"}
    server.stream = [{"problem": problem}]
    ran = cli("branch", "diff", "main@0/1", "main", "--exit-code")
    assert (ran.code, ran.out) == (3, "")


@pytest.mark.parametrize(
    "words",
    [
        "branch diff main",
        "branch diff main main@",
        "branch diff main@ main",
        "branch diff main main --diff",
        "snapshot diff one A",
        "snapshot diff main@5m one",
    ],
)
def test_bad_words_are_refused_before_anything_is_compared(cli: Cli, server: FakeServer, words: str) -> None:
    ran = cli(*words.split())
    assert (ran.code, server.changes()) == (2, [])


def test_a_snapshot_that_is_none_is_not_found(cli: Cli, server: FakeServer) -> None:
    assert cli("snapshot", "diff", "nothing", "main").code == 3
    assert server.changes() == []


def test_colours_are_those_of_git_also_of_lines_that_look_like_heads() -> None:
    red, green, bold, blue, off = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[36m", "\x1b[m"
    assert diffs.as_text(diff(database(ddl=DDL)), coloured=True).splitlines() == [
        f"{bold}--- shop/main@0/1 postgres{off}",
        f"{bold}+++ shop/main@0/2 postgres{off}",
        f"{blue}@@ -1 +1,2 @@{off}",
        f"{red}--- old{off}",
        f"{green}+new{off}",
        " kept",
    ]
