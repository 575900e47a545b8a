"""A server as the user's own libpq knows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.cli.server import resolve, with_servers
from neon_compose.errors import Invalid
from neon_compose.model.stackfile import read_stack
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer

NOBODY = "127.0.0.1:1"  # resolving may begin a connection; nobody listens there


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGPASSWORD", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    server = resolve(f"postgres://joe@{NOBODY}/shop")
    assert (server.password, server.options["user"]) == ("s3cret", "joe")


def test_the_password_comes_from_the_password_file(tmp_path: Path) -> None:
    (tmp_path / "pgpass").write_text("127.0.0.1:1:shop:joe:a\\:b\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert resolve(f"postgres://joe@{NOBODY}/shop").password == "a:b"
    assert resolve(f"postgres://joe@{NOBODY}/other").password is None


def test_a_service_is_resolved_here(tmp_path: Path) -> None:
    (tmp_path / "services").write_text(
        "[prod]\nhost=127.0.0.1\nport=1\nuser=joe\ndbname=shop\npassword=s3cret\n"
    )
    server = resolve("service=prod")
    assert (str(server), server.password) == (f"postgres://joe@{NOBODY}/shop", "s3cret")
    with pytest.raises(Invalid, match="not valid"):
        resolve("service=missing")


def test_nothing_but_what_was_said_or_is_needed_goes_into_the_address() -> None:
    assert str(resolve(f"postgres://joe@{NOBODY}/shop")) == f"postgres://joe@{NOBODY}/shop"


def test_an_import_from_a_server_sends_the_password_apart_in_the_body(cli: Cli, server: FakeServer) -> None:
    ran = cli("storage", "attach", "shop", "--import", f"postgres://joe:s3cret@{NOBODY}/shop")
    assert ran.code == 0
    assert server.changes() == [
        (
            "PUT",
            "/storages",
            {},
            {
                "name": "shop",
                "type": "native",
                "import": f"postgres://joe@{NOBODY}/shop",
                "import_password": "s3cret",
            },
        )
    ]


def test_a_source_that_wants_a_password_is_an_error_without_a_terminal(cli: Cli, server: FakeServer) -> None:
    server.refuse["PUT", "/storages"] = Invalid("the source wants a password", code="no_password")
    ran = cli("storage", "attach", "shop", "--import", f"postgres://joe@{NOBODY}/shop")
    assert ran.code == 2
    assert len(server.changes()) == 1


def test_the_stack_files_servers_are_sent_without_their_passwords() -> None:
    text = (
        f"storages: {{shop: {{import: 'postgres://joe:s3cret@{NOBODY}/shop'}}, crm: {{import: ./crm.dump}}}}"
    )
    stack, passwords = with_servers(read_stack(text, folder=Path("/home/joe")))
    assert "s3cret" not in str(stack.as_document())
    assert stack.storages["shop"].import_ == f"postgres://joe@{NOBODY}/shop"
    assert stack.storages["crm"].import_ == "/home/joe/crm.dump"
    assert passwords == {"shop": "s3cret"}
