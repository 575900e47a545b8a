"""What a compute is told."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from neon_compose.compute import command
from neon_compose.compute.paths import ComputePaths
from neon_compose.postgres import conf
from neon_compose.postgres.versions import CATALOG

TIP = UUID("01a206e0-4b35-7bec-915f-604a1dd21de4")


def test_everything_pinned_is_on_the_command_line() -> None:
    words = command.container_command(CATALOG[17], TIP, {})
    pinned = {words[n + 1] for n, word in enumerate(words) if word == "-c"}
    assert {f"{name}={value}" for name, value in conf.PINNED.items()} <= pinned
    assert {"fsync=on", "full_page_writes=on", "unix_socket_directories=/neon/pg/run"} <= pinned


def test_the_preload_is_for_postgres_alone() -> None:
    words = command.container_command(CATALOG[17], TIP, {})
    assert words[0] == "/usr/bin/env"
    assert words.index("LD_PRELOAD=/usr/lib/neon/libneonshim.so") < words.index(
        "/usr/lib/postgresql/17/bin/postgres"
    )


def test_what_is_pinned_can_not_be_set_by_a_user() -> None:
    assert set(conf.PINNED) <= set(conf.FORBIDDEN) | {
        name for name in conf.PINNED if name.startswith("recovery_target")
    }


def test_user_settings_win_over_defaults_and_the_port_over_all(tmp_path: Path) -> None:
    paths = ComputePaths(tmp_path)
    paths.data.mkdir()
    command.write_settings(paths, "shop", 15432, {"shared_buffers": "1GB", "search_path": "it's"})
    lines = (paths.data / "postgresql.conf").read_text().splitlines()
    assert "shared_buffers = '1GB'" in lines
    assert "search_path = 'it''s'" in lines
    assert "port = '15432'" in lines
    assert sum(line.startswith("shared_buffers") for line in lines) == 1
    assert (paths.data / "pg_ident.conf").read_text() == "neon_compose neon neon_admin\n"


def test_nobody_but_neon_admin_gets_through_the_gate_and_nobody_but_our_user_without_a_password() -> None:
    assert command.GATE_HBA.splitlines() == [
        "local template1 neon_admin peer map=neon_compose",
        "local all neon_admin scram-sha-256",
    ]
    methods = {line.split()[-1] for line in command.OPEN_HBA.splitlines()}
    assert methods == {"scram-sha-256"}
