from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from neon_compose.wait import Deadline, until
from tests.unit.api.conftest import Api

MIB = 1 << 20


def dump(size: int) -> Iterator[bytes]:
    yield b"PGDMP"
    for _ in range(size // MIB):
        yield b"x" * MIB


def send_part(api: Api, path: str, claimed: int, part: bytes) -> socket.socket:
    """A raw upload that claims more than it sends."""
    target = urlsplit(api.url)
    raw = socket.create_connection((target.hostname, target.port), 10)
    token = api.fixture.site.secrets.token
    raw.sendall(
        f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {claimed}\r\n\r\n".encode()
    )
    raw.sendall(part)
    return raw


def test_a_dump_of_any_size_is_passed_on_and_becomes_a_storage(api: Api) -> None:
    answer = api.http.put("/storages/crm/import", content=dump(20 * MIB))
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert lines[-1]["result"]["snapshots"] == ["import"]
    assert len(api.fixture.pageservers.store("crm").imported) == 20 * MIB + 5
    assert any(line.get("bytes") for line in lines)


def test_what_is_not_a_dump_leaves_no_storage(api: Api) -> None:
    before = api.world()
    answer = api.http.put("/storages/crm/import", content=b"hello")
    problem = json.loads(answer.text.splitlines()[-1])["problem"]
    assert problem["code"] == "not_a_dump"
    assert api.world() == before


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?format=zip", 422, "bad_value"),
        ("?type=s3", 422, "not_available"),
        ("?path=relative", 422, "path_not_absolute"),
        ("?formt=auto", 422, "unknown_parameter"),
    ],
)
def test_a_bad_upload_is_refused_with_a_status(api: Api, query: str, status: int, code: str) -> None:
    before = api.world()
    answer = api.http.put(f"/storages/crm/import{query}", content=dump(MIB))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.world() == before


def test_an_upload_into_a_storage_that_is_there_is_refused_before_it_is_read(api: Api) -> None:
    with send_part(api, "/storages/shop/import", 10**12, b"PGDMP") as raw:
        assert b" 409 " in raw.recv(2000)


def test_a_client_that_goes_away_leaves_no_storage(api: Api) -> None:
    before = api.world()
    begun = threading.Event()
    api.fixture.pageservers.import_hook = lambda _: begun.set()
    raw = send_part(api, "/storages/crm/import", 10**9, b"PGDMP" + b"x" * 200_000)
    assert begun.wait(10)
    raw.close()
    until("the storage to be gone", lambda: api.world() == before, Deadline.after(10))
    assert api.http.get("/storages/crm").status_code == 404


def test_a_client_that_goes_away_after_its_last_byte_leaves_no_storage(api: Api) -> None:
    before = api.world()
    begun, go_on = threading.Event(), threading.Event()

    def hook(size: int) -> None:
        begun.set()
        if size > 5:
            assert go_on.wait(10)

    api.fixture.pageservers.import_hook = hook
    raw = send_part(api, "/storages/crm/import", 100_005, b"PGDMP" + b"x" * 100_000)
    assert begun.wait(10)
    raw.close()
    threading.Event().wait(0.3)
    go_on.set()
    until("the storage to be gone", lambda: api.world() == before, Deadline.after(10))


def test_a_slow_pageserver_slows_the_client(api: Api) -> None:
    go_on = threading.Event()
    api.fixture.pageservers.import_hook = lambda _: go_on.wait(10)
    sent = 0

    def counted() -> Iterator[bytes]:
        nonlocal sent
        for chunk in dump(32 * MIB):
            sent += len(chunk)
            yield chunk

    upload = threading.Thread(target=lambda: api.http.put("/storages/crm/import", content=counted()))
    upload.start()
    threading.Event().wait(0.5)
    held_back = sent
    go_on.set()
    upload.join(30)
    assert held_back < 24 * MIB
    assert sent == 32 * MIB + 5
