"""Snapshots from the command line."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer


@pytest.mark.parametrize("source", ["main", "main@5m", "main@0/1A2B", "main/main@2026-11-28T10:00:00Z"])
def test_a_snapshot_is_one_request_with_the_words_that_were_typed(
    cli: Cli, server: FakeServer, source: str
) -> None:
    ran = cli("snapshot", "create", "before", "--from", source)
    assert server.changes() == [("PUT", "/snapshots/main/before", {}, {"from": source})]
    assert ran.out.splitlines()[0].split() == ["STORAGE", "NAME", "BRANCH", "LSN", "CREATED"]
    assert "before" in ran.out


def test_its_storage_is_that_of_the_source_or_named(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.pg("worker", storage="shop")
    cli("snapshot", "create", "one", "--from", "worker")
    cli("snapshot", "create", "two", "--from", "worker", "-s", "main")
    assert [call[1] for call in server.changes()] == ["/snapshots/shop/one", "/snapshots/main/two"]


@pytest.mark.parametrize("source", ["", "main@", "main@5x", "main@2026-11-28", "main@0/", "^parent"])
def test_a_bad_source_is_refused_before_anything_is_asked(cli: Cli, server: FakeServer, source: str) -> None:
    ran = cli("snapshot", "create", "one", f"--from={source}")
    assert ran.code == 2
    assert "hint: " in ran.err
    assert server.calls == []


@pytest.mark.parametrize("name", ["A", "a_b", "-", "a" * 41, "a/b"])
def test_a_bad_name_is_refused(cli: Cli, server: FakeServer, name: str) -> None:
    assert cli("snapshot", "create", "--from", "main", "--", name).code == 2
    assert server.calls == []


def test_snapshots_are_listed_of_all_storages_or_of_one(cli: Cli, server: FakeServer) -> None:
    server.storage("shop")
    server.snapshot("main", "one")
    server.snapshot("shop", "two")
    assert [one["name"] for one in json.loads(cli("snapshot", "list", "-o", "json").out)] == ["one", "two"]
    assert [one["name"] for one in json.loads(cli("snapshot", "list", "shop", "-o", "json").out)] == ["two"]
    assert cli("snapshot", "list", "nowhere").code == 3


@pytest.mark.parametrize("words", ["main/one", "one", "-n one", "one -s main", "main/one -s main"])
def test_one_is_shown_and_deleted_by_its_name(cli: Cli, server: FakeServer, words: str) -> None:
    server.snapshot("main", "one")
    assert "lsn:" in cli("snapshot", "show", *words.split()).out
    ran = cli("snapshot", "delete", *words.split())
    assert ran.err == 'snapshot "main/one" is deleted\n'
    assert server.changes() == [("DELETE", "/snapshots/main/one", {}, None)]
    assert server.snapshots == []


def test_a_name_that_none_has_is_not_found_and_one_that_two_have_is_ambiguous(
    cli: Cli, server: FakeServer
) -> None:
    server.snapshot("main", "before")
    ran = cli("snapshot", "delete", "befor")
    assert ran.code == 3
    assert '"before"' in ran.err
    server.snapshot("shop", "before")
    ran = cli("snapshot", "show", "before")
    assert ran.code == 4
    assert "main/before, shop/before" in ran.err
    assert server.changes() == []


def test_a_dry_run_changes_nothing(cli: Cli, server: FakeServer) -> None:
    assert "ACTION" in cli("snapshot", "create", "one", "--from", "main", "--dry-run").out
    assert server.snapshots == []
