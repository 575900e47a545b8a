"""What goes into an image: files from `images/`, our package, its pinned requirements; hash and tar of them.

Works from a checkout (`images/` at the root of the repository) and from a wheel (`_data/images`
inside the package). The same inputs give the same bytes: times, owners and order are fixed, so both
the content hash and Docker's own layer cache see only real changes.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from neon_compose.errors import Bug

BUILT = frozenset({".o", ".so", ".a", ".d", ".gcda", ".gcno", ".pyc", ".swp"})
LEFT_OUT = frozenset({"__pycache__", "_data", "build", "tests"})
NOT_IN_IMAGES = frozenset({"cli"})  # nothing in a container speaks to people


@dataclass(frozen=True, order=True)
class ContextFile:
    """A file of a build context, by its path inside it."""

    path: str
    content: bytes
    executable: bool = False


def package_folder() -> Path:
    return Path(str(resources.files("neon_compose")))


def data_root() -> Path:
    """The folder that holds `images/` and `compose/`: the checkout's, else the wheel's."""
    package = package_folder()
    for root in (package / "_data", package.parent):
        if (root / "images" / "base" / "Dockerfile").is_file():
            return root
    raise Bug(f'no folder "images" beside or inside "{package}"', hint="Install neon-compose again.")


def folder_files(folder: Path, under: str = "") -> list[ContextFile]:
    """Every file below `folder` that is somebody's work, not a compiler's."""
    return [
        ContextFile(under + path.relative_to(folder).as_posix(), path.read_bytes(), _executable(path))
        for path in _walk(folder)
    ]


def package_files() -> list[ContextFile]:
    """Our package as it goes into controller, pageserver and safekeeper, under `package/neon_compose/`."""
    package = package_folder()
    return [
        found
        for found in folder_files(package, "package/neon_compose/")
        if found.path.split("/")[2] not in NOT_IN_IMAGES
    ]


def requirements() -> ContextFile:
    """Our pinned run-time dependencies: the checkout's pyproject.toml, else the installed metadata."""
    project = package_folder().parent / "pyproject.toml"
    if project.is_file():
        found = list(tomllib.loads(project.read_text())["project"]["dependencies"])
    else:
        found = [r for r in metadata.requires("neon-compose") or [] if "extra ==" not in r]
    return ContextFile("requirements.txt", "".join(f"{line}\n" for line in sorted(found)).encode())


def digest(files: Iterable[ContextFile], *others: str) -> str:
    """12 hex digits over paths, modes and contents, and whatever else decides the result."""
    sha = hashlib.sha256()
    for file in sorted(files):
        sha.update(f"{file.path}\0{file.executable:d}\0{len(file.content)}\0".encode())
        sha.update(file.content)
    for other in others:
        sha.update(f"\0{other}".encode())
    return sha.hexdigest()[:12]


def tar(files: Iterable[ContextFile]) -> bytes:
    """A build context: root's files of the epoch, in order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for file in sorted(files):
            info = tarfile.TarInfo(file.path)
            info.size = len(file.content)
            info.mode = 0o755 if file.executable else 0o644
            archive.addfile(info, io.BytesIO(file.content))
    return stream.getvalue()


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            if path.name not in LEFT_OUT:
                yield from _walk(path)
        elif path.is_file() and path.suffix not in BUILT and not path.name.startswith(".nfs"):
            yield path


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)
