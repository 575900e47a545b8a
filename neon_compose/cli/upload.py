"""A dump as a stream of bytes: a file as it is, a directory-format dump as a tar made on the fly.

Everything that can be known before the first byte is sent is checked before it.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from neon_compose.errors import Conflict, Invalid, NotFound

CHUNK = 1 << 18
_END_OF_TAR = bytes(2 * tarfile.BLOCKSIZE)
Told = Callable[[int], None]


@dataclass(frozen=True)
class Dump:
    """A dump to send. `format` is "directory" for a folder, else "auto"; `total_bytes` None for a pipe."""

    path: Path
    format: str
    total_bytes: int | None

    def chunks(self, told: Told = lambda _sent: None) -> Iterator[bytes]:
        """Its bytes; `told` hears how many have been handed out so far."""
        source = _tar(self.path) if self.format == "directory" else _read(self.path)
        sent = 0
        for chunk in source:
            yield chunk
            sent += len(chunk)
            told(sent)


def open_dump(path: Path) -> Dump:
    """The dump at `path`. Raises `NotFound`, or `Invalid` for what can't be read or can't be a dump."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return _open_folder(path)
        if stat.S_ISREG(found.st_mode):  # a pipe opened twice would lose its first reader's bytes
            path.open("rb").close()
    except FileNotFoundError as error:
        raise NotFound(f"file {str(path)!a} does not exist", code="no_file") from error
    except (OSError, ValueError) as error:
        raise Invalid(
            f"could not read file {str(path)!a}", detail=f"{error}.", code="unreadable_file"
        ) from error
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise Invalid(f"file {str(path)!a} is empty", hint="pg_dump -Fc makes a dump.", code="empty_dump")
    return Dump(path, "auto", found.st_size if stat.S_ISREG(found.st_mode) else None)


def _open_folder(path: Path) -> Dump:
    if (path / "PG_VERSION").exists():
        raise Invalid(
            f"folder {str(path)!a} is a Postgres data directory, not a dump",
            hint="Make a dump of it: pg_dump -Fd -f FOLDER.",
            code="data_directory",
        )
    if not (path / "toc.dat").is_file():
        raise Invalid(
            f"folder {str(path)!a} is not a directory-format dump",
            detail='It has no file "toc.dat".',
            hint="pg_dump -Fd -f FOLDER makes one.",
            code="not_a_dump",
        )
    sizes = [_padded(file.stat().st_size) + tarfile.BLOCKSIZE for file in _files(path)]
    return Dump(path, "directory", sum(sizes) + len(_END_OF_TAR))


def _files(folder: Path) -> list[Path]:
    """The files of a dump in order, toc.dat first: a reader knows early what it has before it."""
    found = sorted(file for file in folder.rglob("*") if file.is_file())
    return sorted(found, key=lambda file: file.name != "toc.dat")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _tar(folder: Path) -> Iterator[bytes]:
    for file in _files(folder):
        yield from _tar_member(file, file.relative_to(folder).as_posix())
    yield _END_OF_TAR


def _tar_member(file: Path, name: str) -> Iterator[bytes]:
    """Header, content and padding. Raises `Conflict` when the file changes under the reader."""
    info = tarfile.TarInfo(name)
    info.size = file.stat().st_size
    info.mode = 0o600
    yield info.tobuf(tarfile.PAX_FORMAT)
    sent = 0
    for chunk in _read(file):
        sent += len(chunk)
        if sent > info.size:
            break
        yield chunk
    if sent != info.size:
        raise Conflict(f"file {str(file)!a} changed while it was sent", code="dump_changed")
    yield bytes(_padded(sent) - sent)


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
