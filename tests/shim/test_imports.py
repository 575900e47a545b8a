"""Each of libc's functions that Postgres calls is interposed by the shim, or known to need none.

A Postgres that begins to use a new way to a file is found here, before it reads holes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import docker
import pytest

from neon_compose.engine import images
from tests.shim.imports import HARMLESS, NO_FILES, STREAMS

POSTGRES = "/usr/lib/postgresql"
SHIM = "/usr/lib/neon"


def _unpack(container: docker.models.containers.Container, path: str, to: Path) -> Path:
    chunks, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        archive.extractall(to, filter="data")
    return to / Path(path).name


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """Postgres and its modules, and the shim, from the image computes run."""
    if shutil.which("nm") is None:
        pytest.skip("no binutils here")
    to = tmp_path_factory.mktemp("image")
    client = docker.from_env()
    container = client.containers.create(images.tags(["compute"])["compute"])
    try:
        postgres, shim = _unpack(container, POSTGRES, to), _unpack(container, SHIM, to)
    finally:
        container.remove()
        client.close()
    return [*postgres.rglob("bin/postgres"), *postgres.rglob("lib/**/*.so")], shim / "libneonshim.so"


def _symbols(which: str, *files: Path) -> set[str]:
    command = ["nm", "-D", which, *map(str, files)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    names = [line.split()[-1] for line in listed.splitlines() if line and not line.endswith(":")]
    of_libc = [name for name in names if which == "--defined-only" or "@GLIBC" in name]
    return {name.split("@")[0] for name in of_libc}


@pytest.mark.docker
def test_all_that_postgres_imports_is_interposed_or_known(programs: tuple[list[Path], Path]) -> None:
    files, shim = programs
    imported = _symbols("--undefined-only", *files)
    interposed = _symbols("--defined-only", shim)
    assert any(file.name == "postgres" for file in files)
    assert {"open", "pread", "preadv", "pwritev", "fdatasync", "rename"} <= imported & interposed
    unknown = imported - interposed - HARMLESS.keys() - STREAMS - NO_FILES
    assert not unknown, "sort these into tests/shim/imports.py"


def test_no_name_is_in_two_tables() -> None:
    tables = [set(HARMLESS), set(STREAMS), set(NO_FILES)]
    assert sum(map(len, tables)) == len(set.union(*tables))
