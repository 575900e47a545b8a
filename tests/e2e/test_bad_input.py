"""Bad input over the real path: the right status and exit code, a hint, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack

BAD_NAMES = ["", "a" * 41, "Shop", "a/b", "..", "a\0b", "$(id)", "a;b", "a_b", "-a", "a-", "é"]


def world(stack: Stack) -> tuple[list[str], Any, Any]:
    """What exists: containers and volumes, storages, pgs."""
    with stack.http() as http:
        return (
            sorted(stack.leftovers()),
            http.get("/storages").json(),
            [p["name"] for p in http.get("/pgs").json()],
        )


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_is_refused_everywhere(shared: Stack, name: str) -> None:
    before = world(shared)
    with shared.http() as http:
        answers = [
            http.put("/storages", json={"name": name, "type": "native"}),
            http.put("/pgs", json={"name": name, "storage_name": "main"}),
            http.put("/pgs", json={"name": "x", "storage_name": "main", "branch": name}),
        ]
    for answer in answers:
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["hint"]
    assert world(shared) == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/pgs", {"name": "x", "storage_name": "nowhere"}, 404),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "branch": "nowhere"}, 404),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "from": "main@nowhere"}, 404),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "from": "main@99d"}, 404),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "from": "main@0/1A2B"}, 404),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "from": "main@2999-01-01T00:00:00Z"}, 422),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "from": "main@2026-13-01T00:00:00Z"}, 422),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "bogus": 1}, 422),
        ("PUT", "/pgs", {"name": "x", "storage_name": "main", "port": 80000}, 422),
        (
            "PUT",
            "/pgs",
            {"name": "x", "storage_name": "main", "durability": "majority", "from": "main@init"},
            422,
        ),
        (
            "PUT",
            "/pgs",
            {"name": "x", "storage_name": "main", "settings": {"no_such": "1"}, "from": "main@init"},
            422,
        ),
        (
            "PUT",
            "/pgs",
            {"name": "x", "storage_name": "main", "settings": {"fsync": "off"}, "from": "main@init"},
            422,
        ),
        (
            *("PUT", "/pgs"),
            {"name": "x", "storage_name": "main", "settings": {"work_mem": "lots"}, "from": "main@init"},
            422,
        ),
        ("PUT", "/pgs", {"name": "x"}, 422),
        ("PUT", "/pgs", [], 422),
        ("GET", "/pgs/nowhere", None, 404),
        ("DELETE", "/pgs/nowhere", None, 404),
        ("DELETE", "/pgs/main", None, 409),
        ("POST", "/pgs/nowhere/actions", {"action": "start"}, 404),
        ("POST", "/pgs/main/actions", {"action": "dance"}, 422),
        ("POST", "/pgs/main/actions", {"action": "promote"}, 422),
        ("POST", "/pgs/main/actions", {"action": "start", "is_replica": "replica"}, 422),
        ("PUT", "/storages", {"name": "x", "type": "floppy"}, 422),
        ("PUT", "/storages", {"name": "x", "type": "s3", "path": "s3://b/p"}, 422),
        ("PUT", "/storages", {"name": "x", "type": "native", "path": "relative/path"}, 422),
        ("PUT", "/storages", {"name": "x", "type": "native", "path": "/etc/hostname"}, 422),
        ("DELETE", "/storages/main", None, 409),
        ("DELETE", "/storages/nowhere", None, 404),
        ("GET", "/no/such/route", None, 404),
        ("PATCH", "/pgs", {}, 405),
    ],
)
def test_a_bad_request_is_refused_and_leaves_nothing(
    shared: Stack, method: str, path: str, body: Any, status: int
) -> None:
    before = world(shared)
    with shared.http() as http:
        answer = http.request(method, path, content=None if body is None else json.dumps(body))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"]
    assert world(shared) == before


def test_a_second_primary_on_a_branch_is_a_conflict_even_while_the_first_is_stopped(shared: Stack) -> None:
    shared.cli("branch", "create", "first", "--from", "main@init")
    with shared.http() as http:
        made = http.put("/pgs", json={"name": "second", "storage_name": "main", "branch": "first"})
        assert made.status_code == 201
        assert made.json()["note"]
        for _ in range(2):
            refused = http.post("/pgs/second/actions", json={"action": "start"})
            assert refused.status_code == 409, refused.text
            assert "first" in refused.text
            http.post("/pgs/first/actions", json={"action": "stop"})
        assert http.delete("/pgs/second").is_success
        assert http.delete("/pgs/first").is_success
    shared.cli("branch", "delete", "main/first")


def test_wrong_token_foreign_host_and_bad_bodies_are_refused(shared: Stack) -> None:
    url = shared.client_file["url"]
    with shared.http() as http:
        token = http.headers["authorization"]
        assert http.get("/pgs", headers={"host": "evil.example"}).status_code == 403
        assert http.put("/pgs", content=b"{" + b" " * 10_000_000 + b"}").status_code == 413
        assert http.put("/pgs", content=iter([b"{", b" " * 10_000_000, b"}"])).status_code == 413
        assert http.put("/pgs", content=b'{"name": ').status_code == 400
        assert http.put("/pgs", content=b"\xff\xfe").status_code == 400
    assert httpx.get(f"{url}/pgs").status_code == 401
    assert httpx.get(f"{url}/pgs", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert httpx.get(f"{url}/pgs", auth=("anyone", token.removeprefix("Bearer "))).status_code == 200
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/docs").status_code == 200


def test_a_taken_port_is_a_conflict_that_names_it(shared: Stack) -> None:
    with socket.socket() as taken, shared.http() as http:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = http.put(
            "/pgs",
            json={"name": "x", "storage_name": "main", "from": "main@init", "port": port, "start": True},
        )
        assert answer.status_code == 409, answer.text
        assert str(port) in answer.text
        assert http.get("/pgs/x").status_code == 404


def test_a_dump_that_is_broken_leaves_no_storage(shared: Stack, tmp_path: Path, zabbix_sql: Path) -> None:
    whole = b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (n int);\n"
    newer = b"--\n-- PostgreSQL database dump\n--\n-- Dumped from database version 99.1\n"
    bad = {
        "truncated.sql": whole,
        "newer.sql": newer,
        "empty.sql": b"",
        "random.bin": bytes(range(256)) * 100,
        "magic.dump": b"PGDMP\x01\x10\x00\x04\x08\x01",
        "broken.sql": b"create table t (n int);\ninsert into nowhere values (1);\n",
        "cut.sql.gz": gzip.compress(zabbix_sql.read_bytes()[:100_000])[:-500],
    }
    before = world(shared)
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        ran = shared.run(
            "storage", "attach", "-n", "broken", "--type", "native", "--import", str(tmp_path / name)
        )
        assert ran.code in (2, 4), (name, ran)
        assert ran.err.startswith("error: ") or "\nerror: " in ran.err, (name, ran.err)
    assert world(shared) == before


def test_two_requests_for_one_name_end_in_one_pg(shared: Stack) -> None:
    answers: list[int] = []

    def create(source: str) -> None:
        with shared.http() as http:
            body = {"name": "twin", "storage_name": "main", "from": source, "start": True}
            answers.append(http.put("/pgs", json=body).status_code)

    threads = [threading.Thread(target=create, args=("main@init",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {200, 201}
    assert len(shared.containers("compute")) == len(
        [p for p in shared.json("pg", "list") if p["state"] == "running"]
    )
    shared.cli("pg", "stop", "-n", "twin")
    shared.cli("pg", "destroy", "-n", "twin")
    shared.cli("branch", "delete", "main/twin")


def test_port_3000_taken_tells_by_whom(make_stack: StackMaker) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 3000))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        other = make_stack(Stack.SMALL)
        other.up()
        assert not other.client_file["url"].endswith(":3000")
