"""What a compute is told: the container's command, postgresql.conf and pg_hba.conf.

Paths in it are the container's (paths.INSIDE). What must not move is on the command line, where neither
postgresql.conf nor ALTER SYSTEM reaches it; what a user may set is in postgresql.conf. The port is there
too, since the command is fixed before the port is known; `drop_lines` keeps ALTER SYSTEM off it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import UUID

from neon_compose.compute import readmission
from neon_compose.compute.paths import (
    INSIDE,
    LAYERS_IN_CONTAINER,
    MAPS_IN_CONTAINER,
    SHIM_IN_CONTAINER,
    ComputePaths,
)
from neon_compose.durable import aside
from neon_compose.postgres import conf
from neon_compose.postgres.server import ADMIN
from neon_compose.postgres.versions import Version

GATE_HBA = readmission.HBA + f"local all {ADMIN} scram-sha-256\n"
OPEN_HBA = (
    "local all         all     scram-sha-256\n"
    "local replication all     scram-sha-256\n"
    "host  all         all all scram-sha-256\n"
    "host  replication all all scram-sha-256\n"
)

_AUTO_CONF = "postgresql.auto.conf"
_SETTING_LINE = re.compile(r"\s*([A-Za-z_][\w$.]*)")


def gate_hba(safekeepers: Iterable[str]) -> str:
    """Who gets in before the gate opens; `safekeepers` are addresses that WAL is received from."""
    return GATE_HBA + "".join(
        f"host {what} {ADMIN} {address}/32 scram-sha-256\n"
        for address in safekeepers
        for what in ("all", "replication")
    )


def container_command(version: Version, tip: UUID, own: Mapping[str, str]) -> list[str]:
    """The whole command of a compute container over `tip`; `own` are settings of this compute that nothing
    may undo.

    env sets the preload for postgres alone: Docker's init, the container's first process, goes without.
    """
    environment = shim_environment(
        SHIM_IN_CONTAINER, INSIDE, MAPS_IN_CONTAINER / f"{tip}.map", LAYERS_IN_CONTAINER, "local"
    )
    pinned = {
        "config_file": INSIDE.data / "postgresql.conf",
        "hba_file": INSIDE.data / "pg_hba.conf",
        "ident_file": INSIDE.data / "pg_ident.conf",
        "unix_socket_directories": INSIDE.run,
        **conf.PINNED,
        **own,
    }
    return [
        "/usr/bin/env",
        *(f"{name}={value}" for name, value in environment.items()),
        str(version.program("postgres")),
        "-D",
        str(INSIDE.data),
        *(word for name, value in pinned.items() for word in ("-c", f"{name}={value}")),
    ]


def shim_environment(
    shim: Path, paths: ComputePaths, branch_map: Path, layers: Path, mode: str
) -> dict[str, str]:
    """What postgres must find in its environment to run over a branch."""
    return {
        "LD_PRELOAD": str(shim),
        "NEON_SHIM_PGDATA": str(paths.data),
        "NEON_SHIM_MAP": str(branch_map),
        "NEON_SHIM_LAYERS": str(layers),
        "NEON_SHIM_OVERLAY": str(paths.overlay),
        "NEON_SHIM_MARKER": str(paths.marker),
        "NEON_SHIM_MODE": mode,
    }


def write_settings(paths: ComputePaths, pg: str, port: int, settings: Mapping[str, str]) -> None:
    """Write postgresql.conf from our defaults and the checked user settings."""
    merged = {**conf.DEFAULTS, "cluster_name": pg, **settings, "port": str(port)}
    text = conf.render(merged.items(), "Written by neon-compose at every start; ALTER SYSTEM is kept.")
    _replace(paths.data / "postgresql.conf", text, durable=False)
    _replace(paths.data / "pg_ident.conf", readmission.IDENT, durable=False)
    if not (paths.data / _AUTO_CONF).exists():  # that would be a line in the log at every start
        _replace(paths.data / _AUTO_CONF, "", durable=False)
    drop_lines(paths.data / _AUTO_CONF, conf.FORBIDDEN)


def write_hba(paths: ComputePaths, text: str) -> None:
    _replace(paths.data / "pg_hba.conf", text, durable=False)


def drop_lines(auto_conf: Path, names: Iterable[str]) -> None:
    """Take settings we own out of postgresql.auto.conf: it would override postgresql.conf."""
    unwanted = set(names)
    lines = auto_conf.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not _sets(line, unwanted)]
    if kept != lines:
        _replace(auto_conf, "".join(kept), durable=True)  # the only copy of what ALTER SYSTEM set


def _sets(line: str, names: set[str]) -> bool:
    match = _SETTING_LINE.match(line)
    return match is not None and match[1].lower() in names


def _replace(path: Path, text: str, *, durable: bool) -> None:
    """Whole or not at all after kill -9. What is not `durable` is written again at every start."""
    with aside(path) as file:
        file.write(text.encode())
        file.rename(durable=durable)
