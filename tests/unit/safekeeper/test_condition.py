"""What the end of an attempt to receive means."""

from __future__ import annotations

import errno

import psycopg
import pytest

from neon_compose.errors import Conflict, Corrupt
from neon_compose.safekeeper.condition import Condition, Ended, state_after

NO_ROOM = 'pg_receivewal: error: could not open write-ahead log file "x.partial": No space left on device'
REMOVED = "ERROR:  requested WAL segment 000000010000000000000008 has already been removed"
ITS_DISK = "FATAL:  could not write lock file: No space left on device"


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (Ended(f"{NO_ROOM}\npg_receivewal: error: disconnected"), Condition.DISK_FULL),
        (OSError(errno.ENOSPC, "No space left on device", "x"), Condition.DISK_FULL),
        (OSError(errno.EIO, "Input/output error", "x"), Condition.FAILED),
        (
            Ended(f"pg_receivewal: error: unexpected termination of replication stream: {REMOVED}"),
            Condition.WAL_GONE,
        ),
        (Ended(f"pg_receivewal: error: connection to server failed: {ITS_DISK}"), Condition.UNREACHABLE),
        (psycopg.OperationalError(ITS_DISK), Condition.UNREACHABLE),
        (psycopg.OperationalError("Connection refused"), Condition.UNREACHABLE),
        (Ended("It exited with -9."), Condition.UNREACHABLE),
        (Conflict("another", code="other_primary"), Condition.REFUSED),
        (Conflict("not seeded", code="not_seeded"), Condition.FAILED),
        (Corrupt("damaged"), Condition.FAILED),
        (ZeroDivisionError("ours"), Condition.FAILED),
    ],
)
def test_the_end_of_an_attempt_is_explained(error: Exception, condition: Condition) -> None:
    state = state_after(error)
    assert state.condition is condition
    assert state.trouble is not None
    assert state.trouble.message


def test_a_full_disk_is_said_with_what_to_do() -> None:
    trouble = state_after(Ended(NO_ROOM)).trouble
    assert trouble is not None
    assert (trouble.code, trouble.detail) == ("disk_full", NO_ROOM)
    assert "Make room" in trouble.hint
