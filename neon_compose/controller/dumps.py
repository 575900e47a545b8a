"""A dump file or folder of the engine's machine as a stream of bytes.

The controller can't see that machine's files, the engine can: a container that is created, never
started, has the path mounted, and the engine reads it out as a tar. Nothing is copied to disk.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from neon_compose.controller.probe import created_probe
from neon_compose.engine.runtime import ContainerSpec, Engine, Mount
from neon_compose.errors import Invalid, NeonError, Unavailable

_CHUNK = 1 << 20


@contextmanager
def opened_dump(
    engine: Engine, stack: str, image: str, path: str
) -> Iterator[tuple[str, Iterator[bytes]] | None]:
    """The import format ("auto" for a file, "directory" for a folder, which comes as a tar) and the bytes;
    None for a Postgres data directory, which is no dump.

    Raises `NotFound` if there is no such path.
    """
    mount = Mount(str(PurePosixPath(path)), "/dump", read_only=True)
    spec = ContainerSpec(
        name="", image=image, command=("true",), mounts=(mount,), network="none", read_only=True
    )
    with created_probe(engine, stack, spec) as name:
        if _has(engine, name, "/dump/PG_VERSION"):
            yield None
        else:
            yield _unpacked(engine.read_archive(name, "/dump"), path)


def _has(engine: Engine, name: str, path: str) -> bool:
    try:
        for _ in engine.read_archive(name, path):
            return True
    except NeonError:  # also when what is mounted is a file
        return False
    return False


def _unpacked(archive: Iterator[bytes], path: str) -> tuple[str, Iterator[bytes]]:
    """A folder's tar as it is; of a file only its content."""
    raw = _Raw(archive)
    try:
        # A stream needs nothing but `read`; the iterator below reads on from it.
        tar = tarfile.open(fileobj=raw, mode="r|", bufsize=_CHUNK)  # type: ignore[call-overload]  # noqa: SIM115
        member = tar.next()
    except tarfile.TarError as error:
        raise Unavailable(f'"{path}" can\'t be read', detail=str(error), code="read_failed") from error
    if member is None or not (member.isdir() or member.isreg()):
        raise Invalid(f'"{path}" is neither a file nor a folder', code="not_a_file")
    if member.isdir():
        return "directory", raw.again()
    raw.forget()
    return "auto", _content(tar, member, path)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> Iterator[bytes]:
    file = tar.extractfile(member)
    try:
        while file is not None and (chunk := file.read(_CHUNK)):
            yield chunk
    except tarfile.TarError as error:
        raise Unavailable(f'reading "{path}" broke off', detail=str(error), code="read_failed") from error


class _Raw:
    """An iterator of bytes as something to read from, that can be read again from its begin once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._left = chunks, b""
        self._seen: list[bytes] | None = []

    def read(self, size: int) -> bytes:
        while len(self._left) < size and (chunk := next(self._chunks, None)) is not None:
            self._left += chunk
        given, self._left = self._left[:size], self._left[size:]
        if self._seen is not None:
            self._seen.append(given)
        return given

    def forget(self) -> None:
        self._seen = None

    def again(self) -> Iterator[bytes]:
        yield b"".join(self._seen or ())
        yield self._left
        yield from self._chunks
