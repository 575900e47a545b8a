"""Reading a dump as it arrives: compression, format, and whether it is whole.

Owns: the spool, one plain file or folder in scratch that psql or pg_restore can read.
Does not do: running anything (restore.py), looking into SQL (script.py).

Formats and how they are told apart, after gz or zst is taken off:
    custom      "PGDMP" at 0
    tar         a tar that holds toc.dat ("PGDMP" …) and restore.sql
    directory   a tar of the folder: toc.dat without restore.sql
    plain       text without NULs that has pg_dump's header or looks like SQL
"""

from __future__ import annotations

import errno
import re
import shutil
import tarfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Protocol

import zstandard

from neon_compose.errors import DiskFull, Invalid, NeonError, Unavailable


class Format(StrEnum):
    PLAIN = "plain"
    CUSTOM = "custom"
    DIRECTORY = "directory"
    TAR = "tar"


@dataclass(frozen=True)
class Dump:
    """A whole-looking dump on disk; `path` is a file, for DIRECTORY a folder."""

    format: Format
    path: Path
    size_bytes: int


_MAGIC_BYTES = 64 * 1024
_TAIL_BYTES = 64 * 1024
_ARCHIVE = b"PGDMP"
_TAR_AT, _TAR = 257, b"ustar"

_DUMP_HEADS = {
    b"-- PostgreSQL database cluster dump": b"-- PostgreSQL database cluster dump complete",
    b"-- PostgreSQL database dump": b"-- PostgreSQL database dump complete",
}
_SQL = re.compile(
    rb"^\s*(create|insert|copy|set|alter|select|begin|drop|do|grant|with|start|update|delete|comment|truncate)\b",
    re.IGNORECASE | re.MULTILINE,
)


def _refused(message: str, *, detail: str = "", hint: str = "") -> Invalid:
    return Invalid(message, detail=detail, hint=hint, code="bad_dump")


# ---- the spool -----------------------------------------------------------------------------------


class _Decompressor(Protocol):
    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> None: ...


class _Stored:
    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> None:
        return


class _Gzip:
    """Members one after another, as gzip itself reads them."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._fresh = True

    def feed(self, chunk: bytes) -> bytes:
        out = bytearray()
        try:
            while chunk:
                if self._member.eof:
                    chunk = chunk.lstrip(b"\0") if self._fresh else chunk  # gzip allows zero padding
                    self._member, self._fresh = zlib.decompressobj(wbits=31), True
                    continue
                out += self._member.decompress(chunk)
                self._fresh = False
                chunk = self._member.unused_data
        except zlib.error as error:
            raise _refused("the dump's gzip data is damaged", detail=str(error)) from error
        return bytes(out)

    def finish(self) -> None:
        if not self._member.eof and not self._fresh:
            raise _refused("the dump is truncated", detail="Its gzip data ends early.")


class _Zstd:
    """Frames one after another."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
        self._fresh = True

    def feed(self, chunk: bytes) -> bytes:
        out = bytearray()
        try:
            while chunk:
                out += self._frame.decompress(chunk)
                self._fresh = False
                chunk = self._frame.unused_data if self._frame.eof else b""
                if self._frame.eof:
                    self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
                    self._fresh = True
        except zstandard.ZstdError as error:
            raise _refused("the dump's zstd data is damaged", detail=str(error)) from error
        return bytes(out)

    def finish(self) -> None:
        if not self._fresh:
            raise _refused("the dump is truncated", detail="Its zstd data ends early.")


def _decompressor(head: bytes) -> _Decompressor:
    if head.startswith(b"\x1f\x8b"):
        return _Gzip()
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _Zstd()
    return _Stored()


class Spool:
    """Takes a dump's bytes in order and leaves them decompressed in `path`; `finish` when all are in.

    Raises `Invalid` code "bad_dump" for damaged or truncated compression, `Unavailable` for a full disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received_bytes = 0
        self._file: IO[bytes] = path.open("xb")
        self._decompressor: _Decompressor | None = None
        self._head = b""

    def feed(self, chunk: bytes) -> None:
        self.received_bytes += len(chunk)
        if self._decompressor is None:
            self._head += chunk
            if len(self._head) < 4:  # too short to tell the compression
                return
            self._decompressor, chunk = _decompressor(self._head), self._head
        self._write(self._decompressor.feed(chunk))

    def finish(self) -> int:
        """The size of the decompressed dump. Raises `Invalid` when nothing came or it ends early."""
        if not self.received_bytes:
            raise _refused("the dump is empty")
        if self._decompressor is None:
            self._write(self._head)
        else:
            self._decompressor.finish()
        self.close()
        size = self.path.stat().st_size
        if not size:
            raise _refused("the dump is empty", detail="It decompresses to nothing.")
        return size

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise _disk(error) from error

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _disk(error) from error


def _disk(error: OSError) -> NeonError:
    kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else Unavailable
    return kind(
        "could not store the dump",
        detail=f"{error.strerror}.",
        hint="The work volume needs room for the decompressed dump and for the database made of it.",
        code="disk",
    )


# ---- what it is ----------------------------------------------------------------------------------


def recognise(path: Path, wanted: Format | None) -> Dump:
    """What the spooled file is; a directory's tar is unpacked beside it and removed.

    `wanted` is what the caller says it is (None: find out). Raises `Invalid` code "bad_dump".
    """
    found = _format_of(path)
    if wanted is not None and found is not wanted:
        raise _refused(f"the dump is of format {found}, not {wanted}", hint="Leave the format out.")
    size = path.stat().st_size
    if found is Format.DIRECTORY:
        return Dump(found, _unpack(path), size)
    if found is Format.PLAIN:
        _check_plain(path)
    return Dump(found, path, size)


def _format_of(path: Path) -> Format:
    with path.open("rb") as file:
        head = file.read(_MAGIC_BYTES)
    if head.startswith(_ARCHIVE):
        return Format.CUSTOM
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return _toc_format(path)
    if b"\0" not in head and (_plain_end(head) or _SQL.search(head)):
        return Format.PLAIN
    raise _refused(
        "this is not a dump",
        detail="It is neither SQL nor an archive made by pg_dump.",
        hint="Dumps are made by pg_dump -Fc, -Fd, -Ft or -Fp; a folder is sent as its tar.",
    )


def _toc_format(path: Path) -> Format:
    """Which of the two a tar is: one that pg_dump -Ft wrote has a restore.sql beside its toc.dat, a tar of
    a folder that pg_dump -Fd wrote doesn't. (Both toc.dat say they are of format tar.)"""
    names = _find_toc(path)
    return Format.TAR if any(_parts(name) == ["restore.sql"] for name in names) else Format.DIRECTORY


def _find_toc(path: Path) -> list[str]:
    """The names of the files beside a tar's toc.dat, at the top or one folder deep; that comes first."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            files = [member.name for member in tar if member.isfile()]
            toc = next((name for name in files if _parts(name)[-1:] == ["toc.dat"]), None)
            if toc is None or len(_parts(toc)) > 2:
                raise _refused("this tar is not a dump", detail="It has no file toc.dat.")
            file = tar.extractfile(toc)
            if file is None or not file.read(len(_ARCHIVE)).startswith(_ARCHIVE):
                raise _refused("this tar is not a dump", detail="Its toc.dat is not pg_dump's.")
    except (tarfile.TarError, EOFError) as error:
        raise _refused("the dump's tar is damaged or truncated", detail=str(error)) from error
    return [toc, *(name for name in files if name != toc and _parts(name)[:-1] == _parts(toc)[:-1])]


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".", "..")]


def _unpack(path: Path) -> Path:
    """Unpack the files beside toc.dat into a folder of our own, by their last name only: what a foreign
    tar says about paths, links, owners and modes is ignored."""
    wanted = set(_find_toc(path))
    folder = path.with_name(path.name + ".d")
    folder.mkdir()
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.name in wanted and member.isfile() else None
                if source is not None:
                    with source, (folder / _parts(member.name)[-1]).open("xb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except FileExistsError as error:
        raise _refused("the dump's tar has a file twice") from error
    except (tarfile.TarError, EOFError) as error:
        raise _refused("the dump is truncated", detail=f"Its tar ends early ({error}).") from error
    except OSError as error:
        raise _disk(error) from error
    path.unlink()
    return folder


def _plain_end(head: bytes) -> bytes | None:
    """The line a dump with that beginning must end with, None for SQL that isn't pg_dump's."""
    start = head[:4096]
    return next((end for mark, end in _DUMP_HEADS.items() if mark in start), None)


def _check_plain(path: Path) -> None:
    """Raise `Invalid` when a dump lacks the last line pg_dump writes. Other SQL can't be checked."""
    with path.open("rb") as file:
        end = _plain_end(file.read(_MAGIC_BYTES))
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        last = file.read()
    if end is not None and end not in last:
        raise _refused(
            "the dump is truncated",
            detail=f'It does not end with "{end.decode()}".',
            hint="Was pg_dump interrupted, or the disk full? Make the dump again.",
        )
