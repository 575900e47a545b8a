"""Ports of this machine: which are free, and who has one that isn't."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from neon_compose.engine.runtime import World
from neon_compose.errors import Conflict

IsFree = Callable[[int, str], bool]

_LISTENING = "0A"
_LAST = 3999


def is_free(port: int, address: str) -> bool:
    """Whether a program could listen there now. Not a promise: the engine has the last word."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def next_free(first: int, address: str, free: IsFree) -> int:
    """The lowest free port from `first` on. Raises `Conflict` when there is none below 4000."""
    for port in range(first, _LAST + 1):
        if free(port, address):
            return port
    raise Conflict(
        f"no port from {first} to {_LAST} is free", hint="Stop a stack: neon-compose --stack NAME down"
    )


def owner(port: int, world: World) -> str:
    """Who listens on `port`, in words: a container, a process as far as we may see, or "another program"."""
    for container in world.containers:
        if port in container.published:
            stack = f' of stack "{container.stack}"' if container.stack else ""
            return f'container "{container.name}"{stack}'
    return _process(port) or "another program"


def _process(port: int) -> str | None:
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for link in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if str(link.readlink()) in inodes:
                pid = link.parts[2]
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                return f"process {pid} ({name})"
        except OSError:  # not ours to look into, or gone meanwhile
            continue
    return None


def _listening_inodes(port: int) -> list[str]:
    found = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
            found += [
                row[9] for row in rows if row[3] == _LISTENING and int(row[1].rsplit(":", 1)[1], 16) == port
            ]
    return found
