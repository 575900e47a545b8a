"""Debian packages of the machine we run on: installed as root by apt-get, else named in a hint."""

from __future__ import annotations

from collections.abc import Sequence

from neon_compose.engine.machine import Machine
from neon_compose.engine.progress import Say
from neon_compose.errors import Unavailable

APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]


def ensure(programs: Sequence[str], machine: Machine, say: Say, otherwise: str = "") -> None:
    """Install the packages named like `programs` if one of these is missing; see `install`."""
    missing = [program for program in programs if not machine.has(program)]
    if missing:
        install(missing, machine, say, otherwise)


def install(packages: Sequence[str], machine: Machine, say: Say, otherwise: str = "") -> None:
    """Install Debian packages. Raises `Unavailable` with what to type (`otherwise`) when we can't."""
    hint = otherwise or f"Type: sudo apt-get update && sudo apt-get install {' '.join(packages)}"
    if not machine.has("apt-get"):
        raise Unavailable(
            f"{_list(packages)} missing", detail="This machine has no apt-get to install it with.", hint=hint
        )
    if not machine.is_root():
        raise Unavailable(f"{_list(packages)} missing", detail="Installing it needs root.", hint=hint)
    _run([*APT, "update"], machine, say, hint)
    _run([*APT, "install", "-y", "--no-install-recommends", *packages], machine, say, hint)


def _run(argv: list[str], machine: Machine, say: Say, hint: str) -> None:
    status, last = machine.run(argv, say)
    if status != 0:
        command = " ".join(argv[2:])
        raise Unavailable(f'"{command}" failed with status {status}', detail=last, hint=hint)


def _list(packages: Sequence[str]) -> str:
    names = " and ".join(f'"{name}"' for name in packages)
    return f"package {names} is" if len(packages) == 1 else f"packages {names} are"
