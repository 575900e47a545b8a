"""The store in a local folder (a Docker volume or a folder of the host).

Owns the folder's `.lock` and `.creating`. Why not obstore's local store: it neither replaces by etag nor
syncs (tried).

How each promise is kept:
- put_if and delete hold flock on `<root>/.lock`, so compare and rename are one step, across processes,
  containers and threads (each call opens the file anew). A killed holder's lock is dropped by the kernel.
- put_new and put_file are create-only by link(2), which fails if the name is there: no lock needed, but
  put_new takes it too, so that it never meets a put_if's compare halfway.
- Everything is written aside and synced before it gets its name, and the folder is synced after.
- The etag is a hash of the content; nothing else has to be stored, and copying the folder keeps it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neon_compose import durable
from neon_compose.errors import Conflict, DiskFull, Unavailable
from neon_compose.objectstore.store import Etag, changed, check_key, exists, no_object

_COPY_SIZE = 1 << 20


class LocalStore:
    """An ObjectStore in the existing folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> tuple[bytes, Etag]:
        with _translated(key):
            data = self.local_path(key).read_bytes()
        return data, _etag(data)

    def put_new(self, key: str, data: bytes) -> Etag:
        path = self.local_path(key)
        with _translated(key):
            durable.make_folder(path.parent)
            with self._locked(), durable.aside(path) as file:
                file.write(data)
                _link(file, key)
        return _etag(data)

    def put_if(self, key: str, data: bytes, etag: Etag) -> Etag:
        path = self.local_path(key)
        with _translated(key), self._locked():
            try:
                current = path.read_bytes()
            except FileNotFoundError:
                raise changed(key) from None
            if _etag(current) != etag:
                raise changed(key)
            durable.write_file(path, data)
        return _etag(data)

    def delete(self, key: str) -> None:
        path = self.local_path(key)
        with _translated(key), self._locked():
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                durable.sync_folder(path.parent)

    def list(self, prefix: str) -> Iterator[str]:
        if prefix:
            check_key(prefix.removesuffix("/"))
        yield from _list(self.root / prefix, prefix.removesuffix("/"))

    def put_file(self, key: str, path: Path) -> None:
        target = self.local_path(key)
        with _translated(key):
            durable.make_folder(target.parent)
            with durable.aside(target) as file, path.open("rb") as source:
                shutil.copyfileobj(source, _Sink(file), _COPY_SIZE)
                _link(file, key)

    def local_path(self, key: str) -> Path:
        return self.root / check_key(key)

    def sweep(self) -> tuple[Path, ...]:
        """Remove what killed writers left aside, everywhere below the root. Safe beside live writers."""
        folders = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        return tuple(path for folder in folders for path in durable.sweep(folder))

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Hold the right to make a storage in this folder. Raises Conflict code "busy" at once if another
        process does; a dead one's right is gone with it."""
        fd = self._open(".creating")
        try:
            _lock_or_busy(fd, self.root)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = self._open(".lock")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _open(self, name: str) -> int:
        return os.open(self.root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, durable.PRIVATE_FILE)


class _Sink:
    """A file object's `write` on an aside file."""

    def __init__(self, file: durable.Aside) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        self._file.write(data)
        return len(data)


def _lock_or_busy(fd: int, root: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(
            f'another process is making a storage in "{root}"',
            hint="Wait until it has finished.",
            code="busy",
        ) from None


def _link(file: durable.Aside, key: str) -> None:
    try:
        file.link()
    except FileExistsError:
        # Its maker may have been killed between link and sync. Whoever acts on "exists" must not see it
        # vanish in a power cut.
        durable.sync_folder(file.target.parent)
        raise exists(key) from None


def _etag(data: bytes) -> Etag:
    return Etag(hashlib.blake2b(data, digest_size=16).hexdigest())


def _list(folder: Path, key: str) -> Iterator[str]:
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in entries:
        if path.name.startswith("."):  # locks and what is written aside
            continue
        below = f"{key}/{path.name}" if key else path.name
        if path.is_dir():
            yield from _list(path, below)
        else:
            yield below


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise no_object(key) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f'no room for "{key}" of the storage',
                detail=f"{error.strerror}: {error.filename or key}.",
                hint="Make room on the disk of the storage's folder.",
                code="storage_full",
            ) from error
        if error.errno not in (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise Unavailable(
            f'can\'t reach "{key}" of the storage',
            detail=f"{error.strerror}: {error.filename or key}.",
            hint="Check the space and the owner of the storage's folder.",
            code="storage_io",
        ) from error
