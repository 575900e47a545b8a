from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.unit.api.conftest import Api

MIB = 1 << 20


def test_a_token_is_needed_but_for_health_and_documentation(api: Api) -> None:
    with httpx.Client(base_url=api.url, trust_env=False) as nobody:
        for path in ("/healthz", "/docs", "/openapi.json"):
            assert nobody.get(path).status_code == 200
        for path in ("/pgs", "/status", "/nowhere", "/healthz/", "/docs/../pgs"):
            answer = nobody.get(path)
            assert answer.status_code == 401, path
            assert answer.json()["hint"] == "neon-compose token prints it."
            assert "Bearer" in answer.headers["www-authenticate"]


def test_the_token_is_taken_as_bearer_or_as_basic_password(api: Api) -> None:
    token = api.fixture.site.secrets.token
    with httpx.Client(base_url=api.url, trust_env=False) as nobody:
        assert nobody.get("/pgs", auth=("anybody", token)).status_code == 200
        assert nobody.get("/pgs", headers={"Authorization": f"bearer {token}"}).status_code == 200


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer x", "Basic", "Basic %%%", "Basic Og==", "Digest x", "é".encode("latin-1")],
)
def test_a_wrong_token_is_refused(api: Api, value: str | bytes) -> None:
    header = value if isinstance(value, bytes) else value.encode()
    answer = httpx.get(f"{api.url}/pgs", headers={b"Authorization": header}, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["kind"] == "unauthorised"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "127.0.0.1:1", "[::1]:3000", "db.example:80"]
)
def test_local_and_configured_hosts_are_served(api: Api, host: str) -> None:
    assert api.http.get("/pgs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:3000", "", "[::1"]
)
def test_a_foreign_host_is_refused_even_where_no_token_is_needed(api: Api, host: str) -> None:
    for path in ("/pgs", "/healthz"):
        answer = api.http.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "nonsense", ""])
def test_a_body_is_json_whatever_its_content_type_says(api: Api, kind: str) -> None:
    body = b'{"name": "shop", "type": "native"}'
    answer = api.http.put("/storages", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text


def test_a_body_over_1_mib_is_refused_by_its_header_and_by_its_size(api: Api) -> None:
    big = b'{"name": "' + b"x" * 10 * MIB + b'"}'
    assert api.http.put("/pgs", content=big).status_code == 413
    assert api.http.put("/pgs", content=iter([big[:MIB], big[MIB:]])).status_code == 413
    assert api.http.request("DELETE", "/pgs/x", content=big).status_code == 413
    small = b'{"name": "' + b"x" * (MIB - 12) + b'"}'
    assert api.http.put("/pgs", content=small).status_code == 422


def test_a_body_that_claims_to_be_huge_is_refused_unread(api: Api) -> None:
    target = urlsplit(api.url)
    with socket.create_connection((target.hostname, target.port), 10) as raw:
        token = api.fixture.site.secrets.token
        raw.sendall(
            f"PUT /pgs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Content-Length: 99999999999\r\n\r\n".encode()
        )
        assert b" 413 " in raw.recv(1000)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"nope", b'{"a": }', b"\xff\xfe{}", b'{"name": "a"} x', b"[" * 100_000, b'{"a": "\x01"}'],
)
def test_broken_json_is_malformed(api: Api, body: bytes) -> None:
    answer = api.http.put("/pgs", content=body)
    assert answer.status_code in ((400,) if body else (422,)), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"]
