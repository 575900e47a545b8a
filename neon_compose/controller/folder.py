"""Runs inside a short probe container, as root: looks at a host folder, and makes it a storage's.

    python -m neon_compose.controller.folder claim ROOT REST SHOWN NAME
    python -m neon_compose.controller.folder purge|empty ROOT REST SHOWN -

    python -m neon_compose.controller.folder look ROOT "" SHOWN NAME

Each prints {"folder": …} or {"problem": …}.

ROOT is the nearest parent that exists, mounted here; REST what is missing below it; SHOWN the path as
people know it. Rules (DESIGN 10): a missing or empty folder becomes the storage; a storage's folder is
attached again; another non-empty one gets `neon-NAME` in it; a Postgres data directory is refused. New
folders are chowned to our user, existing ones must be writable for it. A refusal leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from neon_compose.errors import Conflict, Invalid, NeonError, as_problem

UID = GID = 10001
FORMAT = 1
_OURS = ("storage.json", "refresh.json", "refs", "branches", "layers", "wal", "snapshots", ".lock")


@dataclass(frozen=True)
class Claimed:
    """`path` is the folder of the storage; `made` says that it wasn't there; `storage_id` of one that was."""

    path: str
    made: bool
    storage_id: str | None = None


def claim(root: Path, rest: str, shown: str, name: str) -> Claimed:
    """The folder for storage `name` at `root`/`rest`; raises `Invalid` or `Conflict`."""
    if root.exists() and not root.is_dir():
        raise _is_file(str(PurePosixPath(shown).parent) if rest else shown)
    if rest:
        return _make(root, rest, shown)
    return _take(root, shown, PurePosixPath(f"neon-{name}"))


def look(folder: Path, shown: str, name: str) -> Claimed:
    """The storage in `folder`, or in the folder for storage `name` in it; changes nothing."""
    for below, below_shown in ((folder, shown), (folder / f"neon-{name}", f"{shown}/neon-{name}")):
        if (below / "storage.json").is_file():
            return Claimed(below_shown, made=False, storage_id=_storage_id(below, below_shown))
    return Claimed(shown, made=False)


def _take(folder: Path, shown: str, inner: PurePosixPath | None) -> Claimed:
    """An existing folder; `inner` is what to make in it if it holds something else."""
    if not folder.is_dir():
        raise _is_file(shown)
    entries = {entry.name for entry in folder.iterdir()} - {"lost+found"}
    if "storage.json" in entries:
        storage_id = _storage_id(folder, shown)
        _check_writable(folder, shown)
        return Claimed(shown, made=False, storage_id=storage_id)
    if "PG_VERSION" in entries or (folder / "global" / "pg_control").exists():
        raise Invalid(
            f'path "{shown}" is a Postgres data directory',
            detail="A storage holds layers, not a data directory.",
            hint="Stop its server and import it into a storage of its own: neon-compose storage attach "
            f"--import {shown}",
            code="data_directory",
        )
    if not entries:
        _check_writable(folder, shown)
        return Claimed(shown, made=False)
    if inner is None:
        raise Conflict(
            f'folder "{shown}" is not empty and not a storage',
            hint="Name another folder, or a missing one.",
            code="folder_not_empty",
        )
    below, below_shown = folder / inner, f"{shown.rstrip('/')}/{inner}"
    return _take(below, below_shown, None) if below.exists() else _make(folder, str(inner), below_shown)


def _make(root: Path, rest: str, shown: str) -> Claimed:
    made: list[Path] = []
    folder = root
    try:
        for part in PurePosixPath(rest).parts:
            folder = folder / part
            folder.mkdir(0o755)
            made.append(folder)
            _give(folder)
        folder.chmod(0o700)
        _check_writable(folder, shown)
    except (OSError, NeonError) as error:
        for one in reversed(made):
            one.rmdir()
        if isinstance(error, NeonError):
            raise
        raise Invalid(
            f'folder "{shown}" can\'t be made', detail=f"{error.strerror}.", code="folder_not_made"
        ) from error
    return Claimed(shown, made=True)


def _give(folder: Path) -> None:
    if os.geteuid() == 0:
        os.chown(folder, UID, GID)


def _storage_id(folder: Path, shown: str) -> str | None:
    try:
        document = json.loads((folder / "storage.json").read_bytes())
        made_by, storage_id = int(document["format"]), str(document["storage_id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f'"{shown}/storage.json" is not a storage\'s', detail=f"{error!r}.", code="bad_storage"
        ) from error
    if made_by > FORMAT:
        raise Conflict(
            f'storage in "{shown}" has format {made_by}; this neon-compose reads up to {FORMAT}',
            hint="Use the neon-compose that made it, or a newer one.",
            code="newer_format",
        )
    return storage_id


def _check_writable(folder: Path, shown: str) -> None:
    """Through a descriptor: containers mount the folder itself, so its parents may be closed to them."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _as_our_user():
            trial = f".neon-trial-{os.getpid()}"
            os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=fd))
            os.unlink(trial, dir_fd=fd)
            os.close(os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd))
    except OSError as error:
        raise Invalid(
            f'folder "{shown}" is not writable',
            detail=f"Components run as uid {UID}: {error.strerror}.",
            hint=f"sudo chown -R {UID}:{GID} {shown}",
            code="not_writable",
        ) from error
    finally:
        os.close(fd)


@contextmanager
def _as_our_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(GID)
    os.seteuid(UID)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def _is_file(shown: str) -> Invalid:
    return Invalid(f'path "{shown}" is a file', hint="Name a folder, or a missing one.", code="path_is_file")


def empty(folder: Path, shown: str) -> Claimed:
    """Remove a storage's files from `folder`; what is not ours stays."""
    for name in _OURS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for leftover in folder.glob(".*.aside"):
        leftover.unlink()
    return Claimed(shown, made=False)


def remove_empty(folder: Path) -> None:
    """Remove `folder` if it is empty; its parent is what is mounted, since a mount can't be removed."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def main(arguments: list[str]) -> None:
    verb, root, rest, shown, name = arguments
    try:
        match verb:
            case "empty":
                found = empty(Path(root) / rest, shown)
            case "look":
                found = look(Path(root), shown, name)
            case "purge":
                found = empty(Path(root) / rest, shown)
                remove_empty(Path(root) / rest)
            case _:
                found = claim(Path(root), rest, shown, name)
        print(json.dumps({"folder": asdict(found)}))
    except NeonError as error:
        print(json.dumps({"problem": as_problem(error)}))


if __name__ == "__main__":
    main(sys.argv[1:])
