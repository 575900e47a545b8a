"""The gate's eyes: a server's pid file says when to knock."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.compute.gate import NotYet, SocketSession, postmaster_status
from neon_compose.compute.paths import ComputePaths
from neon_compose.postgres.refusals import is_locked_out

PID_FILE = "7\n/neon/pg/data\n1795412345\n15432\n/neon/pg/run\n*\n  1234 5\n{}\n"


@pytest.fixture
def paths(tmp_path: Path) -> ComputePaths:
    paths = ComputePaths(tmp_path)
    paths.data.mkdir()
    paths.run.mkdir()
    return paths


@pytest.mark.parametrize(("written", "status"), [("starting", "starting"), ("ready   ", "ready")])
def test_the_last_line_of_the_pid_file_is_the_status(paths: ComputePaths, written: str, status: str) -> None:
    (paths.data / "postmaster.pid").write_text(PID_FILE.format(written))
    assert postmaster_status(paths) == status


def test_no_pid_file_and_a_short_one_are_no_status(paths: ComputePaths) -> None:
    assert postmaster_status(paths) == ""
    (paths.data / "postmaster.pid").write_text("7\n/neon/pg/data\n")
    assert postmaster_status(paths) == ""


def test_a_server_that_is_not_ready_is_not_asked(paths: ComputePaths) -> None:
    (paths.data / "postmaster.pid").write_text(PID_FILE.format("starting"))
    with pytest.raises(NotYet, match="starting"):
        SocketSession(paths, 15432, "x")


def test_a_ready_server_that_does_not_answer_is_not_up_yet(paths: ComputePaths) -> None:
    (paths.data / "postmaster.pid").write_text(PID_FILE.format("ready"))
    with pytest.raises(NotYet):
        SocketSession(paths, 15432, "x")


@pytest.mark.parametrize(
    ("refusal", "locked_out"),
    [
        ('FATAL:  password authentication failed for user "neon_admin"', True),
        ('FATAL:  role "neon_admin" is not permitted to log in', True),
        ('FATAL:  database "postgres" does not exist', True),
        ('FATAL:  database "postgres" is not currently accepting connections', True),
        ("FATAL:  the database system is starting up", False),
        ("FATAL:  sorry, too many clients already", False),
        ('connection to server on socket "/x" failed: No such file or directory', False),
    ],
)
def test_a_refusal_that_waiting_does_not_end_is_told_from_others(refusal: str, *, locked_out: bool) -> None:
    assert is_locked_out(f'connection to server on socket "/x" failed: {refusal}') is locked_out
