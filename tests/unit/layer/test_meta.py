from __future__ import annotations

import io
import stat
import tarfile

import pytest
import zstandard

from neon_compose.errors import Corrupt
from neon_compose.layer import meta
from neon_compose.layer.meta import MetaEntry

FILE = stat.S_IFREG | 0o600


def archive(*entries: MetaEntry) -> bytes:
    raw = io.BytesIO()
    meta.encode([MetaEntry("global/pg_control", FILE, b"x"), *entries], raw)
    return raw.getvalue()


@pytest.mark.parametrize("name", ["../outside", "a/../../b", "/etc/passwd", ".."])
def test_a_name_outside_the_data_directory_is_refused(name: str) -> None:
    with pytest.raises(Corrupt, match="meta"):
        meta.decode(archive(MetaEntry(name, FILE, b"")), "meta")


def test_a_link_is_refused() -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        link = tarfile.TarInfo("base/5")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(Corrupt, match="meta"):
        meta.decode(zstandard.compress(raw.getvalue()), "meta")


def test_an_archive_without_a_control_file_is_refused() -> None:
    raw = io.BytesIO()
    meta.encode([MetaEntry("PG_VERSION", FILE, b"17\n")], raw)
    with pytest.raises(Corrupt, match="meta"):
        meta.decode(raw.getvalue(), "meta")


def test_entries_are_read_back_to_equality() -> None:
    entries = [
        MetaEntry("pg_wal", stat.S_IFDIR | 0o700, b""),
        MetaEntry("pg_wal/1", FILE | 0o040, b"w" * 100_000),
    ]
    assert meta.decode(archive(*entries), "meta")[1:] == entries
