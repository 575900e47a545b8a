"""What a call may import: the command line adds at most 250 ms, and most of that would be imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from neon_compose.cli import access
from neon_compose.cli.access import Access
from neon_compose.model.names import Name

HEAVY = {"docker", "fastapi", "rich", "yaml", "pydantic", "requests", "psycopg", "pygments"}
DOCUMENT = {
    "at": "2026-11-28T05:00:00Z", "kind": "pg_started",
    "name": "x", "storage_name": "main", "branch": "main", "state": "running", "url": "postgres://x",
    "stack": "neon", "version": "0",
}  # fmt: skip


class Controller(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer([DOCUMENT] if self.path in ("/pgs", "/storages") else DOCUMENT)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(DOCUMENT)

    do_POST = do_PUT

    def answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with HTTPServer(("127.0.0.1", 0), Controller) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        access.write(Name("neon"), Access(f"http://127.0.0.1:{server.server_port}", "t"))
        yield tmp_path
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "line",
    [
        "branch create b --from main@init",
        "pg list -o json",
        "pg start x",
        "url x",
        "storage list",
        "status",
        "events",
    ],
)
def test_nothing_heavy_is_imported_on_the_way_to_an_answer(home: Path, line: str) -> None:
    program = f"""if True:
        import sys
        from neon_compose.cli.__main__ import run
        from neon_compose.cli.session import Outside
        code = run({line.split()!r}, Outside())
        print(code, *{{name.split(".")[0] for name in sys.modules}}, file=sys.stderr)
    """
    env = {key: value for key, value in os.environ.items() if key != "NEON_COMPOSE_STACK"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=env | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, *modules = done.stderr.split()
    assert code == "0", done.stderr
    assert HEAVY & set(modules) == set()
