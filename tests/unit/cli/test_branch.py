"""Branches from the command line: where they come from, and one request to make one."""

from __future__ import annotations

import json

import pytest

from neon_compose.model.source import parse_source
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer


def test_a_branch_is_one_request_and_its_url_is_the_result(cli: Cli, server: FakeServer) -> None:
    ran = cli("branch", "create", "try1", "--from", "main@init")
    assert server.changes() == [
        ("PUT", "/pgs", {}, {"name": "try1", "storage_name": "main", "from": "main@init", "start": True})
    ]
    assert ran.out == "postgres://neon_admin:p%40ss@127.0.0.1:15432/try1\n"


@pytest.mark.parametrize(
    ("source", "storage"),
    [("shop/main", "shop"), ("worker", "shop"), ("main", "main"), ("shop", "shop"), ("old", "shop")],
)
def test_a_source_is_a_storages_branch_else_a_pg_else_a_storage_else_a_branch(
    cli: Cli, server: FakeServer, source: str, storage: str
) -> None:
    server.storage("shop")
    server.pg("worker", storage="shop")
    server.branch("shop", "old")
    assert cli("branch", "create", "b", "--from", source).code == 0
    assert server.changes()[0][3]["storage_name"] == storage


def test_a_named_storage_spares_the_question(cli: Cli, server: FakeServer) -> None:
    cli("branch", "create", "b", "--from", "main", "-s", "main")
    assert server.calls[0][0] == "PUT"


def test_a_source_that_nothing_is_called_names_the_nearest(cli: Cli, server: FakeServer) -> None:
    server.branch("main", "release")
    ran = cli("branch", "create", "b", "--from", "relaese")
    assert ran.code == 3
    assert '"release"' in ran.err
    assert server.changes() == []


def test_a_source_that_nothing_resembles_names_all_there_are(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.pg("worker", storage="shop")
    server.branch("shop", "old")
    ran = cli("branch", "create", "b", "--from", "xyz")
    assert ran.code == 3
    assert "Known: main, old, shop, worker." in ran.err


def test_the_name_of_a_pg_or_storage_deletes_no_branch(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.branch("shop", "old")
    ran = cli("branch", "delete", "shop")
    assert (ran.code, 'error: no branch "shop"' in ran.err) == (3, True)
    assert server.changes() == []


def test_a_branch_name_in_two_storages_is_ambiguous(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.branch("main", "old")
    server.branch("shop", "old")
    for line in ("branch create b --from old", "branch delete old"):
        ran = cli(*line.split())
        assert ran.code == 4
        assert "main/old" in ran.err
        assert "shop/old" in ran.err
    assert server.changes() == []


@pytest.mark.parametrize(
    "source", ["", "a@", "/a", "A", "a@5x", "a@0/", "a@2026-01-01T00:00:00", "a@2026-01-01", "^parent"]
)
def test_a_bad_source_is_refused_before_anything_is_asked(cli: Cli, server: FakeServer, source: str) -> None:
    assert cli("branch", "create", "b", f"--from={source}").code == 2
    assert server.calls == []


@pytest.mark.parametrize("line", ["main/try", "try", "-n try", "try -s main", "main/try -s main"])
def test_deleting_a_branch_destroys_its_pgs_first(cli: Cli, server: FakeServer, line: str) -> None:
    server.branch("main", "try")
    server.pg("try", branch="try")
    assert cli("branch", "delete", *line.split()).code == 0
    assert [call[:2] for call in server.changes()] == [
        ("DELETE", "/pgs/try"),
        ("DELETE", "/storages/main/branches/try"),
    ]
    assert set(server.pgs) == {"main"}


def test_a_deleted_branch_is_found_and_taken_back(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    left = {"parent": "main", "deleted_at": "2026-01-01T00:00:00Z", "left_s": 7200}
    server.deleted.append({"storage_name": "shop", "name": "try"} | left)
    listed = cli("branch", "list", "--deleted")
    assert listed.out.splitlines()[1].split() == ["shop", "try", "main", "2026-01-01T00:00:00Z", "2", "h"]
    assert json.loads(cli("branch", "list", "shop", "--deleted", "-o", "json").out)[0]["left_s"] == 7200
    back = cli("branch", "undelete", "try", "--as", "other")
    assert server.changes()[-1][1:] == (
        "/storages/shop/branches/try/actions",
        {},
        {"action": "undelete", "as": "other"},
    )
    assert 'branch "shop/other" is back' in back.err
    assert cli("branch", "undelete", "none").code == 3


def test_a_branch_goes_for_good_when_told_so_also_a_deleted_one(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.branch("shop", "one")
    server.deleted.append({"storage_name": "shop", "name": "two"})
    assert cli("branch", "delete", "two").code == 3
    for name in ("one", "two"):
        assert "for good" in cli("branch", "delete", name, "--now").err
        assert server.changes()[-1][1:3] == (f"/storages/shop/branches/{name}", {"now": "true"})


def test_writes_are_discarded_only_when_told_to(cli: Cli, server: FakeServer) -> None:
    server.branch("main", "try")
    server.pg("try", branch="try")
    cli("branch", "delete", "main/try", "--discard-writes")
    assert server.changes()[0][2] == {"discard_writes": "true"}


def test_branches_are_listed_of_one_storage_or_of_all(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.branch("shop", "main")
    assert len(cli("branch", "list").out.splitlines()) == 3
    assert len(cli("branch", "list", "shop").out.splitlines()) == 2


def test_a_line_of_branches_is_one_request_and_no_pg_is_touched(cli: Cli, server: FakeServer) -> None:
    server.branch("main", "try")
    server.pg("try", branch="try")
    assert cli("branch", "delete", "try", "--cascade").code == 0
    assert server.changes() == [("DELETE", "/storages/main/branches/try", {"cascade": "true"}, None)]


MINUTE = {
    "minute": "2026-11-28T10:15:00Z", "commits": 12, "catalog_changes": 0, "first_lsn": "0/1000028",
    "last_lsn": "0/1A2B3C4D", "wal_bytes": 1536,
}  # fmt: skip


def test_a_log_is_a_table_of_minutes_whose_moments_can_be_pasted(cli: Cli, server: FakeServer) -> None:
    server.log |= {"end_lsn": "0/2", "minutes": [MINUTE, MINUTE | {"catalog_changes": 3}], "more": True}
    ran = cli("branch", "log", "main/try1")
    head, first, second = ran.out.splitlines()
    assert head.split("  ")[0] == "MINUTE (UTC)"
    assert first.split() == ["2026-11-28", "10:15", "12", "-", "1.5", "KiB", "main/try1@0/1A2B3C4D"]
    assert second.split()[3] == "3"
    assert str(parse_source(first.split()[-1])) == "main/try1@0/1A2B3C4D"
    assert ran.err == "older minutes are left out: --limit 4 shows more\n"


def test_a_log_names_its_branch_as_other_commands_do_and_its_length_is_the_servers(
    cli: Cli, server: FakeServer
) -> None:
    server.pg("one", branch="try")
    assert cli("branch", "log", "one", "--limit", "5").code == 0
    assert server.calls[-1] == ("GET", "/storages/main/branches/try/log", {"limit": "5"}, None)
    cli("branch", "log", "main/try")
    assert server.calls[-1][2] == {}


def test_a_branch_without_a_log_is_an_empty_table_and_a_note(cli: Cli, server: FakeServer) -> None:
    ran = cli("branch", "log", "main/main")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)
    assert ran.err == 'safekeepers have no WAL of branch "main/main" of its own\n'
    server.log |= {"end_lsn": "0/9"}
    assert "nothing was committed" in cli("branch", "log", "main/main").err
    ran = cli("branch", "log", "main/main", "-o", "json")
    assert json.loads(ran.out) == server.log


def test_marks_are_actions(cli: Cli, server: FakeServer) -> None:
    server.branch("main", "b")
    for line in ("protect b", "unprotect main/b", "expire b --ttl 2h", "expire b --never"):
        assert cli("branch", *line.split()).code == 0
    for line in ("recover b", "recover b --accept-loss"):
        assert "start its pg" in cli("branch", *line.split()).err
    where = "/storages/main/branches/b/actions"
    assert [(called[1], called[3]) for called in server.changes()] == [
        (where, {"action": "protect"}),
        (where, {"action": "unprotect"}),
        (where, {"action": "expire", "ttl": "2h"}),
        (where, {"action": "expire", "ttl": None}),
        (where, {"action": "recover", "accept_loss": False}),
        (where, {"action": "recover", "accept_loss": True}),
    ]


@pytest.mark.parametrize("line", ["expire b", "expire b --ttl 2h --never", "expire b --ttl 2w"])
def test_a_branch_expires_after_a_time_or_never(cli: Cli, server: FakeServer, line: str) -> None:
    assert cli("branch", *line.split()).code == 2
    assert server.changes() == []


def test_a_branch_is_made_to_expire(cli: Cli, server: FakeServer) -> None:
    assert cli("branch", "create", "b", "--from", "main", "--ttl", "2w").code == 2
    assert cli("branch", "create", "b", "--from", "main", "--ttl", "2h").code == 0
    assert server.changes()[0][3]["ttl"] == "2h"


def test_a_protected_branch_keeps_its_pgs_when_it_is_not_deleted(cli: Cli, server: FakeServer) -> None:
    server.branch("main", "b")
    server.branches[-1]["protected"] = True
    server.pg("a")
    server.pgs["a"]["branch"] = "b"
    ran = cli("branch", "delete", "b")
    assert ran.code == 4
    assert "branch unprotect b" in ran.err
    assert server.changes() == []
