"""Ways in: psql, url, env, token; and that passwords stay out of every argv."""

from __future__ import annotations

import shlex

import pytest

from neon_compose.cli.connect import libpq_env
from tests.unit.cli.conftest import Cli, Programs
from tests.unit.cli.server import TOKEN, URL, FakeServer


def test_psql_of_the_host_gets_the_password_by_its_environment(cli: Cli, programs: Programs) -> None:
    assert cli("psql", "main", "--", "-c", "select 1", "-At").code == 0
    ((argv, env),) = programs.runs
    assert argv == ["/usr/bin/psql", "-c", "select 1", "-At"]
    assert env == {
        "PGHOST": "127.0.0.1",
        "PGPORT": "15432",
        "PGUSER": "neon_admin",
        "PGPASSWORD": "p@ss",
        "PGDATABASE": "main",
    }


def test_the_exit_code_is_psqls(cli: Cli, programs: Programs) -> None:
    programs.code = 3
    assert cli("psql", "main").code == 3


def test_without_psql_and_docker_the_url_is_the_hint(cli: Cli, programs: Programs) -> None:
    programs.there = set()
    ran = cli("psql", "main")
    assert ran.code == 5
    assert "neon-compose url main" in ran.err
    assert programs.runs == []


def test_url_prints_nothing_but_the_url(cli: Cli) -> None:
    ran = cli("url", "main")
    assert (ran.out, ran.err) == ("postgres://neon_admin:p%40ss@127.0.0.1:15432/main\n", "")


@pytest.mark.parametrize("option", ["--direct", "--socket"])
def test_a_way_that_is_not_there_is_told_with_the_one_that_is(cli: Cli, option: str) -> None:
    ran = cli("url", "main", option)
    assert ran.code == 5
    assert "neon-compose url main" in ran.err


def test_env_of_a_pg_can_be_evaluated(cli: Cli) -> None:
    words = [shlex.split(line) for line in cli("env", "main").out.splitlines()]
    assert all(word[0] == "export" for word in words)
    values = dict(word[1].split("=", 1) for word in words)
    assert values["PGPASSWORD"] == "p@ss"
    assert values["DATABASE_URL"].startswith("postgres://")


def test_env_without_a_pg_is_the_apis(cli: Cli) -> None:
    out = cli("env").out
    assert f"export NEON_API_URL={URL}" in out
    assert f"export NEON_API_TOKEN={TOKEN}" in out


def test_token_is_one_that_the_controller_takes(cli: Cli, server: FakeServer) -> None:
    assert cli("token").out == f"{TOKEN}\n"
    server.token = "another"
    assert cli("token").out == ""


def test_a_url_becomes_libpqs_variables() -> None:
    assert libpq_env("postgres://u:a%2Fb%3A@[::1]:6000/d%20b") == {
        "PGHOST": "::1",
        "PGPORT": "6000",
        "PGUSER": "u",
        "PGPASSWORD": "a/b:",
        "PGDATABASE": "d b",
    }
