"""A data directory on the engine's machine, copied while nobody serves it. Runs in a fetching container.

Data directories belong to another user, 0700. So the container starts as root, with no right but to read
everything (its mount is read-only) and to become another user; a `tar` as root reads, a `tar` as our user
writes.

What makes a copy wrong is refused: another major, a cluster that wasn't stopped cleanly, one that was
started while it was read, links that lead out of the folder (tablespaces, a pg_wal elsewhere).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from neon_compose.errors import Conflict, Invalid, Unavailable
from neon_compose.postgres.control import ControlFile, DbState
from neon_compose.wire.fetching import FOLDER

UID = GID = 10001
_BEAT_S = 0.2
_LEFT_OUT = (
    *("./postmaster.opts", "./pg_replslot/*", "./pg_stat_tmp/*", "./pg_dynshmem/*", "./pg_notify/*"),
    *("./pg_serial/*", "./pg_snapshots/*", "./pg_subtrans/*"),
)


def take_folder(target: Path, shown: str, beat: Callable[[str], None], root: Path = Path(FOLDER)) -> None:
    """Copy the data directory at `root`, which people know as `shown`, to the new folder `target`.

    Raises `Invalid` or `Conflict` saying what to do instead.
    """
    before = check_folder(root, shown)
    _copy(root, target, beat)
    if check_folder(root, shown) != before:
        raise _running(shown, "Its pg_control changed while it was read.")


def check_folder(root: Path, shown: str) -> bytes:
    """The pg_control of a data directory that can be copied as it is."""
    version_file = root / "PG_VERSION"
    if not version_file.is_file():
        raise Invalid(f'folder "{shown}" is not a Postgres data directory', code="not_pgdata")
    major = version_file.read_text().strip()
    if major != "17":
        raise Invalid(
            f'data directory "{shown}" is of Postgres {major}',
            detail="A storage runs Postgres 17.",
            hint="Start it and import from the running server (postgres://…, any version from 9.2 on), "
            "or bring it to 17 with pg_upgrade first.",
            code="other_major",
        )
    if (root / "postmaster.pid").exists():
        raise _running(shown, "It holds a postmaster.pid.")
    control = ControlFile.read(root / "global" / "pg_control")
    if control.state is not DbState.SHUT_DOWN or (root / "backup_label").exists():
        raise _running(shown, f"Its state is {control.state.words!r}.")
    _refuse_links(root, shown)
    return control.raw


def _running(shown: str, detail: str) -> Conflict:
    return Conflict(
        f'data directory "{shown}" is in use, or was not shut down cleanly',
        detail=detail,
        hint="Stop its server cleanly (pg_ctl stop -m fast) and repeat, or import from the running server: "
        "--import postgres://USER@HOST/DATABASE.",
        code="not_shut_down",
    )


def _refuse_links(root: Path, shown: str) -> None:
    spaces = sorted((root / "pg_tblspc").iterdir()) if (root / "pg_tblspc").is_dir() else []
    links = [path for path in (root / "pg_wal", *spaces) if path.is_symlink()]
    if links:
        names = ", ".join(f"{path.relative_to(root)} -> {path.readlink()}" for path in links)
        raise Invalid(
            f'data directory "{shown}" has parts outside of it',
            detail=f"These are links: {names}.",
            hint="Start it and import from the running server (postgres://…), which brings all of it along.",
            code="tablespaces",
        )


def _copy(root: Path, target: Path, beat: Callable[[str], None]) -> None:
    as_us = {"user": UID, "group": GID, "extra_groups": []} if os.geteuid() == 0 else {}
    left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    # /work belongs to our user alone, so it is that user who makes the folder.
    subprocess.run(["mkdir", "-m", "0700", str(target)], check=True, **as_us)  # type: ignore[call-overload]
    with subprocess.Popen(
        ["tar", "-c", "-f", "-", *left_out, "-C", str(root), "."],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as reader:
        with subprocess.Popen(  # type: ignore[call-overload]
            ["tar", "-x", "-f", "-", "--no-same-owner", "-C", str(target)],
            stdin=reader.stdout,
            stderr=subprocess.PIPE,
            **as_us,
        ) as writer:
            reader.stdout.close()  # type: ignore[union-attr]  # else a dead writer would not end the reader
            _finish(writer, beat)
        _finish(reader, beat)


def _finish(process: subprocess.Popen[bytes], beat: Callable[[str], None]) -> None:
    while True:
        try:
            _, said = process.communicate(timeout=_BEAT_S)
            break
        except subprocess.TimeoutExpired:
            beat("copy")
    if process.returncode:
        raise Unavailable(
            "the data directory could not be copied",
            detail=said.decode(errors="replace").strip()[-1000:],
            code="copy_failed",
        )
