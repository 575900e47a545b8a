"""User settings: known names, allowed ones, and the binary's word on values."""

from __future__ import annotations

from pathlib import Path

import pytest

from neon_compose.errors import Invalid
from neon_compose.postgres.conf import Value, check_names, check_values, known_names, render
from neon_compose.postgres.versions import Version, version

KNOWN = frozenset({"work_mem", "shared_buffers", "jit", "max_connections"})


def program(tmp_path: Path, script: str) -> Version:
    path = tmp_path / "postgres"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Version(17, tmp_path)


def test_values_become_text_as_postgres_writes_it() -> None:
    given: dict[str, Value] = {"JIT": False, "max_connections": 50, "work_mem": "8MB", "pg_trgm.limit": 0.5}
    assert check_names(given, KNOWN) == {
        "jit": "off",
        "max_connections": "50",
        "work_mem": "8MB",
        "pg_trgm.limit": "0.5",
    }


@pytest.mark.parametrize(
    ("given", "says", "hint"),
    [
        ({"shared_bufers": "1GB"}, '"shared_bufers" does not exist', '"shared_buffers"'),
        ({"fsync": "off"}, '"fsync" can\'t be changed', "crash safety"),
        ({"max_wal_senders": 0}, '"max_wal_senders" can\'t be changed', "safekeeper"),
        ({"port": 1}, '"port" can\'t be changed', "own option"),
        ({"recovery_target_xid": "1"}, "can't be changed", "Recovery"),
        ({"neon.branch": "x"}, "can't be changed", "ours"),
        ({"a b": "x"}, "is not valid", ""),
        ({"work_mem": "1\nfsync=off"}, "control characters", ""),
        ({"work_mem": "1", "WORK_MEM": "2"}, "given twice", ""),
        ({"work_mem": "x" * 5000}, "longer than", ""),
    ],
)
def test_a_setting_that_can_not_be_is_refused_with_the_reason(
    given: dict[str, Value], says: str, hint: str
) -> None:
    with pytest.raises(Invalid) as caught:
        check_names(given, KNOWN)
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_all_wrong_names_are_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        check_names({"aaa": 1, "fsync": "off"}, KNOWN)
    assert '"aaa"' in caught.value.message
    assert '"fsync"' in caught.value.detail


def test_known_names_are_the_first_column_the_binary_prints(tmp_path: Path) -> None:
    described = program(tmp_path, "printf 'work_mem\\tuser\\tx\\njit\\tuser\\ty\\n'")
    assert known_names(described) == {"work_mem", "jit"}


def test_a_value_is_refused_in_postgres_own_words(tmp_path: Path) -> None:
    script = """cat >&2 <<'E'
2026-11-23 05:00:30.088 GMT [8] LOG:  invalid value for parameter "wal_level": "foo"
2026-11-23 05:00:30.088 GMT [8] HINT:  Available values: minimal, replica, logical.
2026-11-23 05:00:30.088 GMT [8] LOG:  99999 is outside the valid range for parameter "max_connections"
2026-11-23 05:00:30.088 GMT [8] FATAL:  configuration file "/tmp/x" contains errors
E
exit 1"""
    with pytest.raises(Invalid) as caught:
        check_values(program(tmp_path, script), {"max_connections": "99999"})
    assert caught.value.message == 'invalid value for parameter "wal_level": "foo"'
    assert "99999 is outside" in caught.value.detail
    assert caught.value.hint == "Available values: minimal, replica, logical."


def test_the_binary_reads_the_file_a_compute_would(tmp_path: Path) -> None:
    asked = program(
        tmp_path, 'cat "$4/postgresql.conf" > "$(dirname "$0")/seen"; ls "$4" >> "$(dirname "$0")/seen"'
    )
    check_values(asked, {"work_mem": "8MB"})
    seen = (tmp_path / "seen").read_text()
    assert "work_mem = '8MB'" in seen
    assert "postgresql.auto.conf" in seen


def test_quotes_and_backslashes_survive_rendering() -> None:
    assert render([("search_path", "a'b\\c")], "t") == "# t\nsearch_path = 'a''b\\\\c'\n"


def test_an_unknown_major_is_refused_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="Postgres 9 is not available"):
        version(9)
