"""Dumps on their way to the controller: checked first, streamed whole, a folder as a tar."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.cli.upload import CHUNK, open_dump
from neon_compose.errors import Conflict, Invalid, NotFound
from tests.unit.cli.conftest import Cli
from tests.unit.cli.server import FakeServer

RESULT = {"result": {"name": "shop", "type": "native", "state": "running"}}


def folder_dump(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


@pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
def test_a_file_is_sent_as_it_is(cli: Cli, server: FakeServer, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "work/shop.dump").write_bytes(content)
    server.stream = [RESULT]
    ran = cli("storage", "attach", "shop", "--import", "shop.dump", "--path", "/srv/shop")
    assert ran.code == 0
    assert server.received == content
    assert server.changes()[0][:3] == (
        "PUT",
        "/storages/shop/import",
        {"format": "auto", "type": "native", "path": "/srv/shop"},
    )
    assert ran.out.splitlines()[1].startswith("shop")


def test_a_directory_dump_is_sent_as_a_tar(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    files = {
        "toc.dat": b"toc",
        "3001.dat.gz": os.urandom(1000),
        "3002.dat.gz": b"",
        "blobs_1.toc": b"x" * 512,
    }
    dump = folder_dump(tmp_path / "dump", files)
    server.stream = [RESULT]
    assert cli("storage", "attach", "shop", "--import", str(dump)).code == 0
    assert server.changes()[0][2]["format"] == "directory"
    with tarfile.open(fileobj=io.BytesIO(server.received)) as archive:
        members = archive.getmembers()
        assert members[0].name == "toc.dat"
        read = {member.name: archive.extractfile(member) for member in members}
        assert {name: file.read() for name, file in read.items() if file} == files
    assert open_dump(dump).total_bytes == len(server.received)


def test_a_dump_from_a_pipe_is_sent_without_knowing_its_size(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    dump = open_dump(pipe)
    assert dump.total_bytes is None

    def write() -> None:
        pipe.write_bytes(b"select 1;")

    writer = threading.Thread(target=write)
    writer.start()
    assert b"".join(dump.chunks()) == b"select 1;"
    writer.join()


@pytest.mark.parametrize("what", ["missing", "empty file", "empty folder", "NUL"])
def test_what_can_not_be_a_dump_is_refused_before_anything_is_asked(
    cli: Cli, server: FakeServer, tmp_path: Path, what: str
) -> None:
    path = tmp_path / "x"
    match what:
        case "empty file":
            path.touch()
        case "empty folder":
            path.mkdir()
        case "NUL":
            path = tmp_path / "a\0b"
    ran = cli("storage", "attach", "shop", "--import", str(path))
    assert ran.code == (3 if what == "missing" else 2)
    assert server.calls == []


def test_a_problem_in_the_stream_is_the_calls_error(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "work/x").write_bytes(b"not a dump")
    server.stream = [
        {"event": "step", "name": "restore", "state": "start"},
        {"problem": {"title": "not a dump", "kind": "invalid", "hint": "pg_dump makes one."}},
    ]
    ran = cli("storage", "attach", "shop", "--import", "x")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.endswith("error: not a dump\nhint: pg_dump makes one.\n")


def test_a_stream_without_its_last_line_is_an_error(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "work/x").write_bytes(b"dump")
    server.stream = [{"event": "step", "name": "restore", "state": "start"}]
    assert cli("storage", "attach", "shop", "--import", "x").code == 5


def test_a_stale_token_is_found_out_before_the_dump_is_sent(
    cli: Cli, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "work/x").write_bytes(b"dump")
    server.token = "another"
    assert cli("storage", "attach", "shop", "--import", "x").code == 5
    assert server.received == b""


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    dump = folder_dump(tmp_path / "dump", {"toc.dat": b"x" * 4 * CHUNK})
    chunks = open_dump(dump).chunks()
    next(chunks)
    (dump / "toc.dat").write_bytes(b"short")
    with pytest.raises(Conflict):
        drain(chunks)


def test_missing_and_unreadable_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_dump(tmp_path / "none")
    with pytest.raises(Invalid):
        open_dump(tmp_path / ("x" * 300))


def drain(chunks: Iterator[bytes]) -> None:
    for _ in chunks:
        pass


def test_a_data_directory_is_left_to_the_engine_to_read(cli: Cli, server: FakeServer, tmp_path: Path) -> None:
    folder_dump(tmp_path / "work/pg", {"PG_VERSION": b"17\n"})
    cli("storage", "attach", "shop", "--import", "pg")
    assert server.changes() == [
        ("PUT", "/storages", {}, {"name": "shop", "type": "native", "import": str(tmp_path / "work/pg")})
    ]
