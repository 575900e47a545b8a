"""The safekeeper's volume: whose it is, and which branches have a folder in it.

    identity                this safekeeper's UUID, made once
    .lock                   held by the process that has the volume
    branches/<id>/          a branch: see record.py, segments.py
    branches/.new-<id>/     one being made, branches/.gone-<id>/ one being removed

Invariant: a branch's folder is whole or not there, for it gets its name, and loses it, by one rename. So one
that lacks something was damaged. An identity without its volume's branches is another safekeeper; branches
without an identity are a volume of which a part was lost, and nobody's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from neon_compose import disks, durable
from neon_compose.errors import Conflict, Corrupt
from neon_compose.model.ids import new_id

_NEW, _GONE = ".new-", ".gone-"


class Volume:
    """See the module; one process has it until `close`."""

    def __init__(self, root: Path, identity: UUID, lock: int) -> None:
        self.root = root
        self.identity = identity
        self._lock = lock

    @classmethod
    def open(cls, root: Path) -> Volume:
        """The volume at `root`, a new safekeeper's if it is empty; what dead processes left aside is gone.

        Raises `Conflict` while another process has it, `Corrupt` if a part of it is missing.
        """
        lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, durable.PRIVATE_FILE)
        try:
            _take(lock, root)
            durable.sweep(root)
            identity = _identity(root)
            durable.make_folder(root / "branches")
            for left in (root / "branches").iterdir():
                if left.name.startswith((_NEW, _GONE)):
                    shutil.rmtree(left)
        except BaseException:
            os.close(lock)
            raise
        return cls(root, identity, lock)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def branches(self) -> list[UUID]:
        """Those that have a folder. Raises `Corrupt` for a name that isn't ours."""
        names = [path.name for path in (self.root / "branches").iterdir() if not path.name.startswith(".")]
        try:
            return sorted(UUID(name) for name in names)
        except ValueError:
            raise Corrupt(f'"{self.root / "branches"}" holds what is no branch', detail=", ".join(names))  # noqa: B904

    def folder(self, branch: UUID) -> Path:
        return self.root / "branches" / str(branch)

    def make(self, branch: UUID, fill: Callable[[Path], None]) -> None:
        """Give `branch` the folder that `fill` fills, durably; what `fill` puts in it is durable when that
        returns. Raises FileExistsError if it has one."""
        path = self.folder(branch)
        if path.exists():
            raise FileExistsError(path)
        new = path.with_name(f"{_NEW}{branch}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(durable.PRIVATE_FOLDER)  # a power cut may take it: nobody knows that name
        try:
            fill(new)
            new.rename(path)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        durable.sync_folder(path.parent)

    def remove(self, branch: UUID) -> None:
        """Take the folder of `branch` away; nothing uses it any more. Repeat is success."""
        path = self.folder(branch)
        gone = path.with_name(f"{_GONE}{branch}")
        shutil.rmtree(gone, ignore_errors=True)
        if path.exists():
            path.rename(gone)
            durable.sync_folder(path.parent)
            shutil.rmtree(gone)

    def free_bytes(self) -> int:
        return max(0, disks.room_bytes(self.root))


def _take(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict(f'"{root}" is in use by another safekeeper', code="volume_in_use") from error


def _identity(root: Path) -> UUID:
    path = root / "identity"
    try:
        return UUID(path.read_text().strip())
    except FileNotFoundError:
        pass
    except ValueError as error:
        raise Corrupt(f'"{path}" holds no identity', code="identity_damaged") from error
    if (root / "branches").exists():
        raise Corrupt(
            f'"{path}" is missing, and there are branches',
            hint="A part of this volume was lost. Give this safekeeper an empty one: it is filled from the "
            "others.",
            code="identity_lost",
        )
    with durable.aside(path) as file:
        identity = new_id()
        file.write(f"{identity}\n".encode())
        file.link()
    return identity
