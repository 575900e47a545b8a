"""Files that commit by rename: the one way every file of ours gets its name.

Owns: writing aside, fsync, giving the name, fsync of the folder, and cleaning what dead writers left.
Does not do: locking between writers of one name (objectstore.local does).

Invariant: under its final name a file is whole and durable, or absent. While it is written it is
called `.<name>.<random>.aside` in the same folder (same file system, so a rename is atomic), and its
writer holds flock(LOCK_EX) on it. The kernel drops that lock when the writer dies, however it dies, so
`sweep` can tell a dead writer's leftover from a file that is being written right now, across
containers too: who can take the lock may remove the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".aside"
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


class Aside:
    """A file under construction: write through `fd`, then `rename` (replaces) or `link` (create-only)."""

    def __init__(self, target: Path, mode: int = PRIVATE_FILE) -> None:
        self.target = target
        self.path, self.fd = _open_locked(target, mode)

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def truncate(self, size: int) -> None:
        """Set the file's size; what was not written is a hole."""
        os.ftruncate(self.fd, size)

    def rename(self, *, durable: bool = True) -> None:
        """Give the file its name, replacing what has it. Durable on return unless told otherwise."""
        if durable:
            os.fsync(self.fd)
        self.path.rename(self.target)
        if durable:
            sync_folder(self.target.parent)

    def link(self) -> None:
        """Give the file its name if nothing has it; raises FileExistsError otherwise. Durable on return."""
        os.fsync(self.fd)
        self.target.hardlink_to(self.path)
        self.path.unlink()
        sync_folder(self.target.parent)

    def close(self) -> None:
        """Release the file; what has not got its name by now disappears."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self.fd)


@contextmanager
def aside(target: Path, mode: int = PRIVATE_FILE) -> Iterator[Aside]:
    """An `Aside` for `target` that is gone at the end unless it was renamed or linked."""
    file = Aside(target, mode)
    try:
        yield file
    finally:
        file.close()


def write_file(target: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace `target` by `data` in one step. Durable on return."""
    with aside(target, mode) as file:
        file.write(data)
        file.rename()


def make_folder(path: Path) -> None:
    """Make `path` and its missing parents (0700). Durable on return."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir(PRIVATE_FOLDER)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in the folder `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(folder: Path) -> list[Path]:
    """Remove what dead writers left in `folder` (not below it) and return it; live writers keep theirs."""
    leftovers = [path for path in folder.glob(f".*{SUFFIX}") if path.is_file()]
    return [path for path in leftovers if _remove_if_dead(path)]


def abandoned(folder: Path) -> list[Path]:
    """What `sweep` would remove from `folder`; changes nothing."""
    return sorted(path for path in folder.glob(f".*{SUFFIX}") if path.is_file() and _is_dead(path))


def _is_dead(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return path.exists()


def _remove_if_dead(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:  # got its name or was given up since we listed it
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The name holds a random part, so it never comes to mean another file: if its writer renamed it
        # between our open and our lock, this finds nothing.
        path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(fd)
    return True


def _open_locked(target: Path, mode: int) -> tuple[Path, int]:
    while True:
        path = target.with_name(f".{target.name}.{os.urandom(6).hex()}{SUFFIX}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                os.fchmod(fd, mode)  # whatever the umask says
                return path, fd
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                os.close(fd)
                raise
        # A sweep came between our open and our lock and took the file, or `abandoned` looked at it and
        # took nothing: make another.
        path.unlink(missing_ok=True)
        os.close(fd)
