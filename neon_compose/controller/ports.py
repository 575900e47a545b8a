"""Sets of host ports as labels carry them ("15432-15440,15442-15447"), and where free ones are. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from neon_compose.errors import Unavailable

FIRST = 15432
END = 32768  # the ephemeral range starts here
POD_PORTS = 16

Ports = tuple[int, ...]


def parse_ports(text: str) -> Ports:
    """The ports a label names, ascending."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def format_ports(ports: Iterable[int]) -> str:
    """The shortest text that `parse_ports` reads back as `ports`."""
    parts: list[str] = []
    run: list[int] = []
    for port in sorted(set(ports)):
        if run and port != run[-1] + 1:
            parts.append(_run(run))
            run = []
        run.append(port)
    return ",".join([*parts, _run(run)] if run else parts)


def _run(run: list[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"


def free_block(taken: AbstractSet[int], first: int = FIRST, count: int = POD_PORTS) -> Ports:
    """The lowest `count` consecutive ports from `first` up that nobody has; `Unavailable` if none are."""
    start = first
    while start + count <= END:
        clash = max((port for port in range(start, start + count) if port in taken), default=None)
        if clash is None:
            return tuple(range(start, start + count))
        start = clash + 1
    raise Unavailable(f"no {count} consecutive free ports between {first} and {END}", code="no_ports")
