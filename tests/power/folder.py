"""Folders to disks and back: what is durable as a recording begins, and a crash image as files to run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.power.disk import PAGE, Content, Disk, File, Image, Names

_ZEROS = bytes(PAGE)


def load(root: Path, overlay: Path) -> Disk:
    """All below `root` is durable as it is now. Overlays are torn at words."""
    folders, names, files = {root.stat().st_ino}, Names(), dict[int, File]()
    for path in root.rglob("*"):
        status = path.lstat()
        if path.is_dir():
            folders.add(status.st_ino)
        elif path.is_file():
            files[status.st_ino] = File(status.st_size, dict(_pages(path)), words=path == overlay)
        else:
            continue  # a socket
        names[path.parent.stat().st_ino, path.name] = status.st_ino
    return Disk(folders, names, files)


def _pages(path: Path) -> Iterator[tuple[int, bytes]]:
    """Pages that hold anything; holes are skipped unread."""
    with path.open("rb", buffering=0) as file:
        fd, size, at = file.fileno(), path.stat().st_size, 0
        while at < size:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA) // PAGE * PAGE
            except OSError:  # ENXIO: a hole up to the end
                return
            hole = os.lseek(fd, at, os.SEEK_HOLE)
            for page in range(at // PAGE, (hole + PAGE - 1) // PAGE):
                data = os.pread(fd, PAGE, page * PAGE).ljust(PAGE, b"\0")
                if data != _ZEROS:
                    yield page, data
            at = hole


def store(image: Image, root: int, dst: Path) -> dict[str, int]:
    """Make the folder `dst` what the image has below `root`; path -> number of each file."""
    below: dict[int, list[tuple[str, int]]] = {}
    for (folder, name), number in image.names.items():
        below.setdefault(folder, []).append((name, number))
    found: dict[str, int] = {}
    todo = [(root, dst)]
    while todo:
        folder, path = todo.pop()
        path.mkdir(mode=0o700)
        for name, number in below.get(folder, []):
            if number in image.files:
                _write(path / name, image.files[number])
                found[str((path / name).relative_to(dst))] = number
            else:
                todo.append((number, path / name))
    return found


def _write(path: Path, content: Content) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        for page, data in content.pages.items():
            os.pwrite(fd, data, page * PAGE)
        os.ftruncate(fd, content.size)
    finally:
        os.close(fd)
