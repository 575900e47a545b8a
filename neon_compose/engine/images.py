"""Our images: what each is made from, its tag, and how to get those that are missing.

A tag is `neon-compose-<image>:<12 hex>`, the hash of all inputs and of the parents' tags, so an image
that exists is the right one and is never looked into. Nothing here depends on time or network: a
build that got its parts from a registry and one that made them itself carry the same tag.

    debian -> base -> python -> controller
                  \\-> postgres -> compute -> pageserver (the shim of the one, and postgres, python)
                  \\-> minio   \\-> safekeeper (and python)

Invariant: once an image is there, asking for it touches nothing but the engine's list of tags.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from neon_compose import settings
from neon_compose.engine import context, rootfs, surroundings
from neon_compose.engine.builder import OURS, Build, ImageBuilder
from neon_compose.engine.context import ContextFile
from neon_compose.engine.docker_builder import DockerBuilder
from neon_compose.engine.machine import HostMachine, Machine
from neon_compose.engine.progress import Progress, Say, already, step
from neon_compose.errors import Bug, Unavailable

ALL = ("base", "postgres", "controller", "pageserver", "safekeeper", "compute", "minio")
# The last release with an image. Docker Hub is reported to refuse it by now, quay.io was its other home.
MINIO_UPSTREAM = "quay.io/minio/minio@sha256:14cea493d9a34af32f524e538b8346cf79f3321eff8e708c1e2960462bd8936e"


@dataclass(frozen=True)
class Recipe:
    """What goes into an image besides its folder: parents by the Dockerfile's ARG, and our own code."""

    parents: Mapping[str, str]
    files: Callable[[], list[ContextFile]] = list


RECIPES: Mapping[str, Recipe] = {
    "base": Recipe({"DEBIAN": "debian"}),
    "python": Recipe({"BASE": "base"}, lambda: [context.requirements()]),
    "postgres": Recipe({"BASE": "base"}),
    "controller": Recipe({"PYTHON": "python"}, context.package_files),
    "safekeeper": Recipe({"POSTGRES": "postgres", "PYTHON": "python"}, context.package_files),
    "compute": Recipe({"BASE": "base", "POSTGRES": "postgres"}),
    "pageserver": Recipe(
        {"POSTGRES": "postgres", "COMPUTE": "compute", "PYTHON": "python"}, context.package_files
    ),
    "minio": Recipe({"BASE": "base"}),
}


@dataclass(frozen=True)
class Planned:
    """An image as it should be: its tag, what goes into its context, its parents' tags by ARG."""

    name: str
    tag: str
    files: tuple[ContextFile, ...] = ()
    parents: Mapping[str, str] | None = None


def plan(names: Iterable[str]) -> dict[str, Planned]:
    """The images asked for and all they stand on, parents first. No engine needed."""
    planned = {"debian": Planned("debian", f"{OURS}debian:{rootfs.CONTENT_HASH}")}
    for name in names:
        _plan(name, planned)
    return planned


def tags(names: Iterable[str] = ALL) -> dict[str, str]:
    """The tag of each image asked for, whether it exists or not."""
    wanted = tuple(names)
    planned = plan(wanted)
    return {name: planned[name].tag for name in wanted}


def ensure(
    names: Iterable[str],
    progress: Progress,
    builder: ImageBuilder | None = None,
    machine: Machine | None = None,
) -> dict[str, str]:
    """Build what is missing of `names` and return their tags.

    On return each of them exists. An image is built by one process at a time; others wait for it.
    Raises `Unavailable` when the engine does not answer or a build fails, with its last lines.
    """
    wanted = tuple(names)
    builder, machine = builder or DockerBuilder(), machine or HostMachine()
    planned = plan(wanted)
    missing = _missing(wanted, planned, builder.tags())
    for image in planned.values():
        if image.tag in missing:
            _make_alone(image, progress, builder, machine)
        elif image.name in wanted:
            already(progress, f"image {image.name}", "already there")
    return {name: planned[name].tag for name in wanted}


def prune(builder: ImageBuilder | None = None) -> list[str]:
    """Remove our images that the code of today would not make; those in use stay. Returns their tags."""
    builder = builder or DockerBuilder()
    kept = {image.tag for image in plan(RECIPES).values()}
    old = sorted(builder.tags() - kept)
    for tag in old:
        builder.remove(tag)
    return sorted(set(old) - builder.tags())


def _plan(name: str, planned: dict[str, Planned]) -> Planned:
    if name not in planned:
        recipe = RECIPES.get(name)
        if recipe is None:
            raise Bug(f'no image "{name}"', detail=f"There are {', '.join(RECIPES)}.")
        parents = {arg: _plan(parent, planned).tag for arg, parent in recipe.parents.items()}
        files = (*context.folder_files(context.data_root() / "images" / name), *recipe.files())
        tag = f"{OURS}{name}:{context.digest(files, *parents.values())}"
        planned[name] = Planned(name, tag, files, parents)
    return planned[name]


def _missing(wanted: Iterable[str], planned: Mapping[str, Planned], there: frozenset[str]) -> set[str]:
    """The tags to make. A parent that is gone is made only if a child has to be."""
    missing: set[str] = set()
    by_tag = {image.tag: image for image in planned.values()}

    def visit(tag: str) -> None:
        if tag not in there and tag not in missing:
            missing.add(tag)
            for parent in (by_tag[tag].parents or {}).values():
                visit(parent)

    for name in wanted:
        visit(planned[name].tag)
    return missing


def _make_alone(image: Planned, progress: Progress, builder: ImageBuilder, machine: Machine) -> None:
    """Make the image, unless another process did while we waited for our turn."""
    with _alone(image.name):
        if image.tag in builder.tags():
            already(progress, f"image {image.name}", "built by another process")
        else:
            _make(image, progress, builder, machine)


def _make(image: Planned, progress: Progress, builder: ImageBuilder, machine: Machine) -> None:
    if image.name == "debian":
        rootfs.make(image.tag, progress, builder, machine)
        return
    with step(progress, f"image {image.name}") as say:
        if image.name == "minio" and _from_registry(image, builder, say):
            return
        builder.build(_build(image, "Dockerfile", image.parents or {}), say)


def _from_registry(image: Planned, builder: ImageBuilder, say: Say) -> bool:
    """Take MinIO's binary from its published image; False when no registry gives it."""
    upstream = f"{OURS}minio-upstream:{context.digest((), MINIO_UPSTREAM)}"
    try:
        builder.pull(MINIO_UPSTREAM, upstream, say)
    except Unavailable as error:
        say(f"from source, a few minutes: {error.message}")
        return False
    builder.build(_build(image, "Dockerfile.registry", {**(image.parents or {}), "UPSTREAM": upstream}), say)
    builder.remove(upstream)
    return True


def _build(image: Planned, dockerfile: str, parents: Mapping[str, str]) -> Build:
    network = surroundings.build_args()
    text = next(f.content.decode() for f in image.files if f.path == dockerfile)
    declared = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    known = {k: v for k, v in network.items() if k in declared or k.lower() in surroundings.PROXIES}
    files = list(image.files)
    if "ca/ca.crt" in text:
        files.append(ContextFile("ca/ca.crt", surroundings.certificate_bundle()))
    return Build(
        tag=image.tag,
        context=context.tar(files),
        dockerfile=dockerfile,
        args={**known, **parents},
        on_host_network=surroundings.needs_host_network(known),
    )


@contextmanager
def _alone(image: str) -> Iterator[None]:
    """Keep other processes of this user from building the same image at the same time."""
    folder = settings.state_home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # tokens come to lie here
    with (folder / f"image-{image}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the close, also of a process that was killed
        yield
