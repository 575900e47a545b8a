"""What every `ImageBuilder` must do; runs on the in-memory one and on a Docker engine."""

from __future__ import annotations

import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.engine import context, images
from neon_compose.engine.builder import OURS, Build, ImageBuilder
from neon_compose.engine.context import ContextFile
from neon_compose.engine.docker_builder import DockerBuilder
from neon_compose.errors import Unavailable
from tests.fakes_builder import FakeBuilder

NOWHERE = f"registry.invalid/nothing@sha256:{'0' * 64}"


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def builder(request: pytest.FixtureRequest) -> ImageBuilder:
    return FakeBuilder() if request.param == "fake" else DockerBuilder()


@pytest.fixture
def tag(builder: ImageBuilder) -> Iterator[str]:
    """A tag of ours that nobody else uses, gone at the end."""
    made = f"{OURS}test-{uuid.uuid4().hex[:8]}:000000000000"
    yield made
    builder.remove(made)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tar of a root file system with one file."""
    (tmp_path / "hello").write_text("hello\n")
    with tarfile.open(tmp_path / "root.tar", "w") as archive:
        archive.add(tmp_path / "hello", "hello")
    return tmp_path / "root.tar"


def build_of(tag: str, dockerfile: str, **args: str) -> Build:
    files = [ContextFile("Dockerfile", dockerfile.encode()), ContextFile("here", b"here")]
    return Build(tag, context.tar(files), args=args)


def silent(_line: str) -> None:
    pass


def test_an_engine_tells_its_version(builder: ImageBuilder) -> None:
    assert builder.ping()[0].isdigit()


def test_an_imported_root_is_there_by_its_tag(builder: ImageBuilder, tag: str, root: Path) -> None:
    assert tag not in builder.tags()
    builder.import_root(tag, root)
    assert tag in builder.tags()


def test_an_image_is_built_on_a_parent_named_by_an_argument(
    builder: ImageBuilder, tag: str, root: Path
) -> None:
    parent = tag.replace("test-", "test-parent-")
    builder.import_root(parent, root)
    lines: list[str] = []
    builder.build(build_of(tag, "ARG PARENT\nFROM ${PARENT}\nCOPY here /here\n", PARENT=parent), lines.append)
    assert {tag, parent} <= builder.tags()
    assert lines
    builder.remove(tag)
    builder.remove(parent)


def test_a_removed_tag_is_gone_and_removing_it_again_is_fine(
    builder: ImageBuilder, tag: str, root: Path
) -> None:
    builder.import_root(tag, root)
    builder.remove(tag)
    builder.remove(tag)
    assert tag not in builder.tags()


def test_no_registry_is_unavailable_and_leaves_no_tag(builder: ImageBuilder, tag: str) -> None:
    with pytest.raises(Unavailable, match="could not pull"):
        builder.pull(NOWHERE, tag, silent)
    assert tag not in builder.tags()


@pytest.mark.docker
def test_a_failed_step_is_told_with_its_output_and_leaves_no_tag() -> None:
    builder, tag = DockerBuilder(), f"{OURS}test-{uuid.uuid4().hex[:8]}:000000000000"
    base = images.ensure(["base"], lambda _step: None)["base"]
    with pytest.raises(Unavailable, match="could not be built") as failed:
        builder.build(build_of(tag, f"FROM {base}\nRUN echo such a pity && false\n"), silent)
    assert failed.value.code == "build_failed"
    assert "such a pity" in failed.value.detail
    assert tag not in builder.tags()


@pytest.mark.docker
def test_a_build_needs_no_network_once_its_parents_are_there() -> None:
    """Only our own code changed: nothing is fetched, so an air-gapped laptop can be worked on."""
    builder = DockerBuilder()
    planned = images.plan(["controller", "pageserver"])
    images.ensure(["controller", "pageserver"], lambda _step: None)
    for name in ("controller", "pageserver"):
        tag = f"{OURS}test-{uuid.uuid4().hex[:8]}:000000000000"
        changed = [
            ContextFile(f.path, f.content + b"\n# changed\n")
            if f.path.endswith("neon_compose/wait.py")
            else f
            for f in planned[name].files
        ]
        lines: list[str] = []
        parents = planned[name].parents or {}
        builder.build(Build(tag, context.tar(changed), args=parents), lines.append)
        builder.remove(tag)
        assert not any("Get:" in line or "Fetched" in line for line in lines)
