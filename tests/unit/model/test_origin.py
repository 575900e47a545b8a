"""What an import may name, and that a server's password never stays with its address."""

from __future__ import annotations

import pytest

from neon_compose.errors import Invalid
from neon_compose.model.origin import Server, is_server


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("postgres://h/db", True),
        ("postgresql://h/db", True),
        ("host=h dbname=x", True),
        ("service=prod", True),
        ("/srv/shop.dump", False),
        ("shop=1.dump", False),
        ("postgres.sql", False),
    ],
)
def test_a_server_is_told_from_a_path(text: str, server: bool) -> None:
    assert is_server(text) is server


@pytest.mark.parametrize(
    "text",
    [
        "postgres://joe:s3cret@db.example:5433/shop?sslmode=require",
        "postgres://joe@/shop?password=s3cret&host=/run/postgresql",
        "host=::1 port=99 user='a b' dbname='we ird' password=s3cret",
        "postgres://joe:s3cret@[::1]/shop",
    ],
)
def test_the_address_is_the_same_without_its_password(text: str) -> None:
    server = Server.parse(text)
    assert server.password == "s3cret"
    assert "s3cret" not in str(server) + repr(server)
    assert Server.parse(str(server)) == Server(server.options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "postgres://joe@h/shop?sslcert=/home/joe/c.pem",
            "sslcert names a client certificate on your machine",
        ),
        ("postgres://joe@h/shop?replication=database", "replication can't be used"),
        ("service=prod", "service names a service on your machine"),
        ("postgres://joe@h/shop?nonsense=1", "nonsense"),
        ("host=h dbname", "missing"),
        ("postgres://h/" + "x" * 4000, "longer than"),
    ],
)
def test_an_address_that_can_not_work_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        Server.parse(text)
    assert said in caught.value.detail


def test_a_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(Invalid) as caught:
        Server.parse("postgres://joe:s3cret@h:x:y/shop%zz")
    assert "s3cret" not in caught.value.message + caught.value.detail + caught.value.hint


def test_verification_by_the_systems_certificates_needs_no_file() -> None:
    server = Server.parse("postgres://joe@h/shop?sslrootcert=system")
    assert server.options["sslmode"] == "verify-full"
