"""What tests need that run a program of theirs in a container of our images: files for it, and the shim."""

from __future__ import annotations

import io
import tarfile

import docker

from neon_compose.compute.paths import SHIM_IN_CONTAINER


def archive(files: dict[str, bytes]) -> bytes:
    """A tar of executable files, by path."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def shim_of(client: docker.DockerClient, image: str) -> bytes:
    """The library that computes run with, out of their image."""
    container = client.containers.create(image, command=["true"])
    try:
        stream, _ = container.get_archive(str(SHIM_IN_CONTAINER))
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            file = tar.extractfile(SHIM_IN_CONTAINER.name)
            assert file is not None
            return file.read()
    finally:
        container.remove(v=True)
