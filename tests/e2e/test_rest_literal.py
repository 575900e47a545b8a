"""The RFC's calls, sent literally (plus the Authorization header), as `curl -d` sends them."""

from __future__ import annotations

import json
import subprocess

from tests.e2e.stack import Stack


def curl(stack: Stack, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """The status and the body that `curl` gets; without -H Content-Type it says form-urlencoded."""
    known = stack.client_file
    data = ["-d", body] if body is not None else []
    done = subprocess.run(
        [
            *("curl", "-sS", "-X", method, "-w", "\n%{http_code}"),
            *("-H", f"Authorization: Bearer {known['token']}", *data, f"{known['url']}{path}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def test_the_rfc_calls_make_use_and_remove_a_storage_and_a_pg(shared: Stack) -> None:
    def call(method: str, path: str, body: str | None = None) -> int:
        status, text = curl(shared, method, path, body)
        assert status < 500, text
        return status

    attach = '{ "name": "rfc", "type": "native", "path": "/tmp" }'
    assert call("PUT", "/storages", attach) == 201
    assert call("PUT", "/storages", attach) == 200
    status, listed = curl(shared, "GET", "/storages")
    (rfc,) = [s for s in json.loads(listed) if s["name"] == "rfc"]
    assert (status, rfc["path"]) == (200, "/tmp/neon-rfc")
    assert call("GET", "/storages/rfc") == 200
    assert call("PUT", "/pgs", '{ "name": "rfcpg", "storage_name": "rfc" }') == 201
    assert call("POST", "/pgs/rfcpg/actions", '{"action": "start"}') == 200
    assert shared.sql("rfcpg", "select 1") == [(1,)]
    assert call("POST", "/pgs/rfcpg/actions", '{"action": "start", "is_replica":"replica"}') == 422
    assert call("POST", "/pgs/rfcpg/actions", '{"action": "promote"}') == 422
    assert call("GET", "/pgs") == 200
    assert call("GET", "/pgs/rfcpg") == 200
    assert call("DELETE", "/storages/rfc") == 409
    assert call("POST", "/pgs/rfcpg/actions", '{"action": "stop"}') == 200
    assert call("DELETE", "/pgs/rfcpg") == 204
    assert call("DELETE", "/storages/rfc?purge=true") == 204
    assert call("GET", "/storages/rfc") == 404


def test_the_rfc_command_lines_work_as_written(shared: Stack) -> None:
    shared.cli("storage", "attach", "-n", "words", "--type", "native")
    shared.cli("storage", "show", "-n", "words")
    shared.cli("pg", "create", "-n", "words", "--s", "words")
    shared.cli("pg", "start", "-n", "words")
    shared.cli("pg", "show", "-n", "words")
    shared.cli("pg", "list")
    shared.cli("storage", "list")
    assert shared.run("pg", "start", "-n", "words", "--replica").code == 2
    assert shared.run("pg", "promote", "-n", "words").code == 2
    shared.cli("pg", "stop", "-n", "words")
    shared.cli("pg", "destroy", "-n", "words")
    shared.cli("storage", "detach", "-n", "words", "--purge")
