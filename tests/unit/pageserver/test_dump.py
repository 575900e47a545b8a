"""What a dump is, and whether it is whole."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from neon_compose.errors import Invalid
from neon_compose.pageserver.dump import Dump, Format, Spool, recognise

PLAIN = (
    b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (a integer);\n"
    b"--\n-- PostgreSQL database dump complete\n--\n"
)
CUSTOM = b"PGDMP\x01\x10\x00\x04\x08\x01" + b"x" * 100
TOC = b"PGDMP\x01\x10\x00\x04\x08\x03" + b"x" * 100


def tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name.replace("__", "/"))
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return out.getvalue()


PG_TAR = tar(**{"toc.dat": TOC, "3333.dat": b"1\n", "restore.sql": b"--"})
FOLDER_TAR = tar(**{"shop__3333.dat": b"1\n", "shop__toc.dat": TOC, "other__x": b"y"})


def spooled(path: Path, data: bytes, chunk: int = 7) -> Path:
    spool = Spool(path)
    try:
        for at in range(0, len(data), chunk):
            spool.feed(data[at : at + chunk])
        spool.finish()
    finally:
        spool.close()
    return path


def take(tmp_path: Path, data: bytes, wanted: Format | None = None) -> Dump:
    return recognise(spooled(tmp_path / "dump", data), wanted)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (PLAIN, Format.PLAIN),
        (b"create table t (a int);\n", Format.PLAIN),
        (CUSTOM, Format.CUSTOM),
        (PG_TAR, Format.TAR),
        (FOLDER_TAR, Format.DIRECTORY),
    ],
)
def test_each_format_is_recognised_bare_and_compressed(tmp_path: Path, data: bytes, found: Format) -> None:
    for n, packed in enumerate((data, gzip.compress(data), zstandard.compress(data))):
        folder = tmp_path / str(n)
        folder.mkdir()
        dump = take(folder, packed)
        assert (dump.format, dump.size_bytes) == (found, len(data))


def test_a_tar_of_a_folder_is_unpacked_beside_its_toc_only(tmp_path: Path) -> None:
    dump = take(tmp_path, FOLDER_TAR)
    assert sorted(path.name for path in dump.path.iterdir()) == ["3333.dat", "toc.dat"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dump.d"]


def test_names_in_a_tar_can_not_leave_the_folder(tmp_path: Path) -> None:
    dump = take(tmp_path, tar(**{"..__toc.dat": TOC, "..__evil": b"x"}))
    assert dump.path.parent == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dump.d"]


def test_several_gzip_members_and_zstd_frames_are_one_dump(tmp_path: Path) -> None:
    half = len(PLAIN) // 2
    first, second = PLAIN[:half], PLAIN[half:]
    gz = spooled(tmp_path / "gz", gzip.compress(first) + gzip.compress(second))
    zst = spooled(tmp_path / "zst", zstandard.compress(first) + zstandard.compress(second))
    assert gz.read_bytes() == zst.read_bytes() == PLAIN


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (gzip.compress(PLAIN)[:-12], "truncated"),
        (zstandard.compress(PLAIN * 50)[:-9], "truncated"),
        (gzip.compress(PLAIN)[:-8] + bytes(8), "damaged"),
        (PLAIN[:-60], "truncated"),
        (b"\0\1\2\3" * 100, "not a dump"),
        (b"Dear Sir, this is a letter.\n", "not a dump"),
        (b"xy", "not a dump"),
        (tar(**{"letter.txt": b"hello"}), "not a dump"),
        (tar(**{"toc.dat": b"hello"}), "not a dump"),
        (FOLDER_TAR[:700], "truncated"),
    ],
    ids=range(12),
)
def test_what_can_not_be_a_whole_dump_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        take(tmp_path, data)
    assert caught.value.code == "bad_dump"
    assert says in caught.value.message


def test_a_dump_of_another_format_than_it_is_said_to_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="of format custom, not plain"):
        take(tmp_path, CUSTOM, Format.PLAIN)
