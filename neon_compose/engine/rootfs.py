"""Debian trixie's root file system as an image: from a registry by digest, else by debootstrap.

Both are Debian's minimal set; `images/base` brings either to the same state (sources, updates,
no documentation), so the tag does not tell them apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neon_compose.engine import context, packages
from neon_compose.engine.builder import ImageBuilder
from neon_compose.engine.machine import Machine
from neon_compose.engine.progress import Progress, Say, step
from neon_compose.errors import Unavailable

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
UPSTREAM = "debian@sha256:d7e12182ce18b85b93007c1dedf31f2d29e01ccf3182cc4017c709b6259bc132"  # trixie-slim
# What debian:trixie-slim leaves out too, and what is made anew in any case.
EXCLUDED = (
    "./dev/*",
    "./proc/*",
    "./sys/*",
    "./tmp/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./var/log/*",
    "./usr/share/doc/*",
    "./usr/share/info/*",
    "./usr/share/lintian/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
)
CONTENT_HASH = context.digest((), SUITE, UPSTREAM, *EXCLUDED)


def make(tag: str, progress: Progress, builder: ImageBuilder, machine: Machine) -> None:
    """Make the image `tag`. Raises `Unavailable` when neither a registry nor debootstrap can."""
    with step(progress, "image debian") as say:
        try:
            builder.pull(UPSTREAM, tag, say)
        except Unavailable as error:
            say(f"by debootstrap: {error.message}")
        else:
            return
        packages.ensure(("debootstrap",), machine, say, otherwise=_by_hand(tag))
        if not machine.is_root():
            raise Unavailable(
                "the Debian base image needs root once",
                detail="No registry answers, and debootstrap works as root only.",
                hint=_by_hand(tag),
            )
        _debootstrap(tag, say, builder, machine)


def _debootstrap(tag: str, say: Say, builder: ImageBuilder, machine: Machine) -> None:
    with _scratch(machine) as scratch:
        root, tar = scratch / "root", scratch / "root.tar"
        argv = ["debootstrap", "--variant=minbase", "--force-check-gpg", SUITE, str(root), MIRROR]
        _run(argv, machine, say)
        excluded = [f"--exclude={pattern}" for pattern in EXCLUDED]
        _run(["tar", "-C", str(root), *excluded, "--numeric-owner", "-cf", str(tar), "."], machine, say)
        builder.import_root(tag, tar)


def _run(argv: list[str], machine: Machine, say: Say) -> None:
    status, last = machine.run(argv, say)
    if status != 0:
        raise Unavailable(f'"{argv[0]}" failed with status {status}', detail=last, code="build_failed")


@contextmanager
def _scratch(machine: Machine) -> Iterator[Path]:
    """A folder on a real disk (/tmp may be memory, or mounted without devices)."""
    with tempfile.TemporaryDirectory(prefix="neon-compose-", dir="/var/tmp") as name:
        try:
            yield Path(name)
        finally:
            # An interrupted debootstrap leaves them mounted, and removal would go into them.
            for mounted in ("proc", "sys"):
                if (Path(name) / "root" / mounted).is_mount():
                    machine.run(["umount", "--lazy", f"{name}/root/{mounted}"], lambda _line: None)


def _by_hand(tag: str) -> str:
    return (
        "Type: sudo apt-get install debootstrap"
        f" && sudo debootstrap --variant=minbase {SUITE} /var/tmp/{SUITE} {MIRROR}"
        f" && sudo tar -C /var/tmp/{SUITE} -c . | docker import - {tag}"
    )
