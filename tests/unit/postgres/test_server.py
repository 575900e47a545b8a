"""Programs run to their end, watched, and never outlive the call."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose import wait
from neon_compose.errors import Unavailable
from neon_compose.postgres.programs import ProgramFailed, ignore, run, tail
from neon_compose.postgres.server import Cluster
from neon_compose.postgres.versions import Version


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def test_the_last_lines_are_returned(tmp_path: Path) -> None:
    assert run(["/bin/sh", "-c", "echo one; echo two >&2"], tmp_path / "log", watch=ignore) == "one\ntwo"


def test_a_failure_carries_the_last_lines(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed) as caught:
        run(["/bin/sh", "-c", "echo because; exit 3"], tmp_path / "log", watch=ignore)
    assert (caught.value.program, caught.value.returncode, caught.value.last_lines) == ("sh", 3, "because")


def test_a_watch_that_raises_kills_the_program_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def watch(_: int) -> None:
        if pids.exists() and len(pids.read_text().split()) == 2:
            raise Unavailable("cancelled")

    script = f"sleep 60 & echo $$ $! > {pids}; wait"
    with pytest.raises(Unavailable):
        run(["/bin/sh", "-c", script], tmp_path / "log", watch=watch)
    for pid in pids.read_text().split():
        wait.until(f"{pid} to be gone", lambda pid=pid: gone(int(pid)), wait.Deadline.after(5.0))  # type: ignore[misc]


def test_stdin_is_a_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("hello")
    with (tmp_path / "in").open("rb") as source:
        assert run(["cat"], tmp_path / "log", watch=ignore, stdin=source) == "hello"


def test_the_tail_of_a_long_log_is_short(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(str(n) for n in range(10_000)))
    lines = tail(tmp_path / "log").splitlines()
    assert lines[-1] == "9999"
    assert len(lines) == 20
    assert tail(tmp_path / "none") == ""


def fake_programs(tmp_path: Path, **scripts: str) -> Version:
    for name, script in scripts.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return Version(17, tmp_path)


def test_initdb_gets_checksums_our_wal_segments_and_no_password_on_its_command_line(tmp_path: Path) -> None:
    version = fake_programs(tmp_path, initdb='echo "$@"; cat "${3#--pwfile=}"; exit 1')
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(ProgramFailed) as caught:
        Cluster(version, home).init("s3cret", lambda: None)
    arguments, password = caught.value.last_lines.splitlines()
    assert {"--data-checksums", "--wal-segsize=4", "--username=neon_admin"} <= set(arguments.split())
    assert "s3cret" not in arguments
    assert password == "s3cret"
    assert not (home / "password").exists()


def test_a_server_that_dies_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    version = fake_programs(tmp_path, postgres="echo FATAL: no such luck; exit 1")
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    with pytest.raises(Unavailable) as caught, Cluster(version, home).running({}):
        pass
    assert "no such luck" in caught.value.detail
