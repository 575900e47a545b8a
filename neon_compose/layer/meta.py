"""The meta archive of a layer: the files of PGDATA that are not relations, and the WAL recovery needs.

Owns the format of <uuid>.meta.tar.zst; which files go in is cluster's. A zstd frame with its checksum
around a ustar archive: names relative to PGDATA, ascending, folders (also empty ones) as entries of their
own, owner 0, time 0, the file's own mode. So equal clusters give equal archives. pg_control goes by its
own name, global/pg_control; the layout patches it and renames it.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import zstandard

from neon_compose.durable import Aside
from neon_compose.layer.cluster import Cluster
from neon_compose.layer.tables import damaged

_LEVEL = 3


class MetaEntry(NamedTuple):
    """A folder (S_ISDIR(mode), no data) or a file; `name` is relative to PGDATA."""

    name: str
    mode: int
    data: bytes

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)


def read_tar_cached(path: Path) -> list[MetaEntry]:
    """All entries of the archive at `path`, parents before what is in them; meant to be kept in memory.

    Raises `Corrupt` if it is damaged or names anything outside PGDATA.
    """
    return decode(path.read_bytes(), path)


def extract(path: Path, pgdata: Path) -> None:
    """Lay the archive out in the existing folder `pgdata`. Not synced: the layout's marker comes later."""
    for name, mode, data in read_tar_cached(path):
        target = pgdata / name
        if stat.S_ISDIR(mode):
            target.mkdir(stat.S_IMODE(mode), exist_ok=True)
        else:
            target.write_bytes(data)
            target.chmod(stat.S_IMODE(mode))


def write_meta(pgdata: Path, cluster: Cluster, out: Aside) -> None:
    """Write the archive of `cluster` to `out`; the caller names it."""
    names = sorted([*cluster.folders, *cluster.files])
    with io.FileIO(out.fd, "w", closefd=False) as raw:
        encode_files(pgdata, ((name, name) for name in names), raw)


def encode_files(pgdata: Path, names: Iterable[tuple[str, str]], raw: BinaryIO | io.FileIO) -> None:
    """Write an archive of files and folders, given as (name in the archive, name in `pgdata`)."""
    encode((_entry(pgdata, name, source) for name, source in names), raw)


def encode(entries: Iterable[MetaEntry], raw: BinaryIO | io.FileIO) -> None:
    """Write an archive of `entries`, which come parents first, one at a time."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        compressor.stream_writer(raw, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for entry in entries:
            tar.addfile(_header(entry), io.BytesIO(entry.data))


def decode(raw: bytes, path: Path | str) -> list[MetaEntry]:
    """The entries in `raw`; `path` is for messages. Raises `Corrupt`."""
    try:
        entries = list(_read_tar(_decompress(raw)))
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as error:
        raise damaged(path, f"It can't be unpacked: {error}.") from error
    if not any(entry.name == "global/pg_control" for entry in entries):
        raise damaged(path, "It has no global/pg_control, or ends early.")
    for entry in entries:
        parts = PurePosixPath(entry.name).parts
        if not parts or ".." in parts or entry.name.startswith("/"):
            raise damaged(path, f"It names {entry.name!r}, outside the data directory.")
    return entries


def _entry(pgdata: Path, name: str, source: str) -> MetaEntry:
    path = pgdata / source
    mode = path.stat().st_mode
    return MetaEntry(name, mode, b"" if stat.S_ISDIR(mode) else path.read_bytes())


def _header(entry: MetaEntry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(entry.name)
    header.mode = stat.S_IMODE(entry.mode)
    header.type = tarfile.DIRTYPE if entry.is_folder else tarfile.REGTYPE
    header.size = len(entry.data)
    return header


def _decompress(raw: bytes) -> bytes:
    frame = zstandard.ZstdDecompressor().decompressobj()
    data = frame.decompress(raw)
    if not frame.eof or frame.unused_data:  # a cut frame gives what it has without a word
        raise EOFError("its frame does not end where the file does")
    return data


def _read_tar(raw: bytes) -> Iterator[MetaEntry]:
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as tar:
        for header in tar:
            if not (header.isdir() or header.isreg()):
                raise tarfile.TarError(f"{header.name!r} is neither a file nor a folder")
            file = tar.extractfile(header)
            kind = stat.S_IFDIR if header.isdir() else stat.S_IFREG
            yield MetaEntry(header.name, kind | header.mode, file.read() if file else b"")
