"""The RFC's command lines as written there, and what people type instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neon_compose.cli.args import hoist
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer

NATIVE = {"name": "a", "type": "native", "path": "/tmp"}
S3 = {"name": "a", "type": "s3", "path": "s3://b/x"}
REPLICA = {"action": "start", "is_replica": "replica"}


@pytest.mark.parametrize(
    ("line", "method", "path", "body"),
    [
        ("storage attach -n a --type native --path=/tmp", "PUT", "/storages", NATIVE),
        ("storage attach -n a --type s3 --path=s3://b/x", "PUT", "/storages", S3),
        ("storage detach -n main", "DELETE", "/storages/main", None),
        ("storage list", "GET", "/storages", None),
        ("storage show -n main", "GET", "/storages/main", None),
        ("pg create -n p --s main", "PUT", "/pgs", {"name": "p", "storage_name": "main"}),
        ("pg create -n p -s main", "PUT", "/pgs", {"name": "p", "storage_name": "main"}),
        ("pg destroy -n main", "DELETE", "/pgs/main", None),
        ("pg start -n main", "POST", "/pgs/main/actions", {"action": "start"}),
        ("pg start -n main --replica", "POST", "/pgs/main/actions", REPLICA),
        ("pg stop -n main", "POST", "/pgs/main/actions", {"action": "stop"}),
        ("pg checkout main -", "POST", "/pgs/main/actions", {"action": "checkout", "branch": "-"}),
        (
            "pg checkout main main/old",
            "POST",
            "/pgs/main/actions",
            {"action": "checkout", "branch": "old"},
        ),
        ("pg promote -n main", "POST", "/pgs/main/actions", {"action": "promote"}),
        ("doctor --discard-cache main", "POST", "/pgs/main/actions", {"action": "discard-cache"}),
        (
            "branch restore main --to 0/1000 --keep old",
            "POST",
            "/storages/main/branches/main/actions",
            {"action": "restore", "to": "0/1000", "keep": "old"},
        ),
        ("branch reset main/main", "POST", "/storages/main/branches/main/actions", {"action": "reset"}),
        ("pg list", "GET", "/pgs", None),
        ("pg show -n main", "GET", "/pgs/main", None),
    ],
)  # fmt: skip
def test_the_rfcs_command_lines_are_its_requests(
    cli: Cli, server: FakeServer, line: str, method: str, path: str, body: object
) -> None:
    assert cli(*line.split()).code == 0
    assert (method, path, {}, body) in server.calls


@pytest.mark.parametrize("branch", ["other/old", "main/", "/old", "a/b/c", "^"])
def test_a_pg_is_checked_out_to_a_branch_of_its_own_storage(
    cli: Cli, server: FakeServer, branch: str
) -> None:
    assert cli("pg", "checkout", "main", branch).code == 2
    assert server.changes() == []


@pytest.mark.parametrize("command", ["pg show", "pg stop", "pg start", "pg restart", "storage show", "url"])
def test_a_name_may_be_given_positionally_or_as_an_option_or_twice_the_same(cli: Cli, command: str) -> None:
    for name in (["main"], ["-n", "main"], ["--name", "main"], ["main", "-n", "main"]):
        assert cli(*command.split(), *name).code == 0


@pytest.mark.parametrize(
    "command", ["pg show", "pg destroy", "storage detach", "url", "branch create --from main"]
)
def test_two_names_that_differ_are_an_error_and_nothing_is_asked(
    cli: Cli, server: FakeServer, command: str
) -> None:
    ran = cli(*command.split(), "one", "-n", "two")
    assert ran.code == 2
    assert ran.err.startswith("error: two names")
    assert server.calls == []


@pytest.mark.parametrize("name", ["", "A", "a_b", "a/b", "..", "a" * 41, "-", "a b", "a;rm", "a\0b", "é"])
@pytest.mark.parametrize("command", ["pg show", "pg destroy", "storage attach", "url", "psql"])
def test_bad_names_are_refused_before_anything_is_asked(
    cli: Cli, server: FakeServer, command: str, name: str
) -> None:
    ran = cli(*command.split(), "--", name)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert server.calls == []


@pytest.mark.parametrize(
    "line",
    ["", "nope", "pg", "pg nope", "pg list --nope", "pg create x", "branch create x", "psql", "pg show",
     "storage attach x --type zfs", "pg list -o xml", "pg create x -s main --port many", "--stack"],
)  # fmt: skip
def test_a_wrong_command_line_exits_2_and_asks_nothing(cli: Cli, server: FakeServer, line: str) -> None:
    ran = cli(*line.split())
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err
    assert server.calls == []


def test_help_and_version_need_nothing(cli: Cli) -> None:
    for line in ("--help", "-h", "pg --help", "pg create -h", "--version"):
        ran = cli(*line.split())
        assert (ran.code, ran.err) == (0, "")
        assert ran.out


def test_global_options_may_stand_anywhere_but_after_two_dashes() -> None:
    assert hoist(["up", "-d", "--stack", "ci"]) == ["--stack", "ci", "up", "-d"]
    assert hoist(["pg", "list", "--stack=ci", "--debug"]) == ["--stack=ci", "--debug", "pg", "list"]
    assert hoist(["psql", "main", "--", "--stack", "x"]) == ["psql", "main", "--", "--stack", "x"]


def test_settings_are_sent_by_name(cli: Cli, server: FakeServer) -> None:
    cli("pg", "create", "p", "-s", "main", "--set", "work_mem=64MB", "--set", "search_path=a, b=c")
    body = server.changes()[0][3]
    assert body["settings"] == {"work_mem": "64MB", "search_path": "a, b=c"}


@pytest.mark.parametrize("setting", [["x"], ["=1"], ["a=1", "a=2"]])
def test_what_is_no_setting_is_refused(cli: Cli, server: FakeServer, setting: list[str]) -> None:
    options = [word for one in setting for word in ("--set", one)]
    assert cli("pg", "create", "p", "-s", "main", *options).code == 2
    assert server.calls == []


def test_a_relative_storage_path_is_sent_absolute(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    cli("storage", "attach", "a", "--path", "data")
    assert server.changes()[0][3]["path"] == str(tmp_path / "work/data")


@pytest.mark.parametrize(
    "line",
    ["pg create p -s main", "pg destroy main", "pg start main", "pg stop main", "pg restart main",
     "pg promote main", "storage attach a", "storage detach main", "branch create b --from main",
     "branch delete main/main"],
)  # fmt: skip
def test_a_dry_run_is_the_servers_and_prints_its_plan(cli: Cli, server: FakeServer, line: str) -> None:
    ran = cli(*line.split(), "--dry-run")
    assert ran.code == 0
    assert all(query.get("dry_run") == "true" for _, _, query, _ in server.changes())
    assert ran.out.startswith("ACTION")


@pytest.mark.parametrize(
    "line", ["pg list", "pg show main", "storage list", "storage show main", "branch list", "status"]
)
def test_json_output_is_the_servers_document(cli: Cli, server: FakeServer, line: str) -> None:
    printed = json.loads(cli(*line.split(), "-o", "json").out)
    known = {"pg list": list(server.pgs.values()), "pg show main": server.pgs["main"],
             "storage list": list(server.storages.values()), "storage show main": server.storages["main"],
             "branch list": server.branches}  # fmt: skip
    assert printed == known.get(line, printed)
    assert printed
