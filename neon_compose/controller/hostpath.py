"""Folders of the engine's machine: the controller can't see them, so a probe container looks.

One probe per attach, with only the nearest existing parent mounted; what it does is `folder`.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from neon_compose.controller.desired import Desired
from neon_compose.controller.folder import Claimed
from neon_compose.controller.probe import run_probe
from neon_compose.engine.runtime import ContainerSpec, Engine, Mount, World
from neon_compose.errors import Conflict, Invalid, NotFound, Unavailable, from_problem
from neon_compose.model.states import Component

_MODULE = ("/opt/neon/bin/python", "-m", "neon_compose.controller.folder")
_CAPS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID")
_MAX_PATH = 1024


def check_host_path(text: str, what: str = "path") -> str:
    """`text` as a normal absolute path; raises `Invalid`."""
    if not text.startswith("/"):
        raise Invalid(
            f"{what} {text[:80]!a} is not absolute",
            hint="Over the API a path is one of the engine's machine; the CLI makes relative ones absolute.",
            code="path_not_absolute",
        )
    if not text.isprintable() or len(text) > _MAX_PATH or ".." in PurePosixPath(text).parts:
        raise Invalid(
            f"{what} {text[:80]!a} is not valid",
            detail='A path is printable, at most 1024 characters long, and has no "..".',
            code="bad_path",
        )
    path = "/" + str(PurePosixPath(text)).lstrip("/")
    if path == "/":
        raise Invalid(f"{what} can't be the root folder", hint="Name a folder in it.", code="bad_path")
    return path


def claim_folder(engine: Engine, stack: str, image: str, path: str, name: str) -> Claimed:
    """The folder that becomes storage `name` when `path` was asked for; made and chowned if new."""
    return _probe(engine, stack, image, "claim", path, name)


def look_at_folder(engine: Engine, stack: str, image: str, path: str, name: str) -> Claimed | None:
    """What `path` holds for storage `name`, None if there is no such path. Changes nothing."""
    try:
        return _run(engine, stack, image, path, ("look", "/probe", "", path, name))
    except NotFound as error:
        if error.code != "path_missing":
            raise
        return None


def purge_folder(engine: Engine, stack: str, image: str, path: str, *, made: bool) -> None:
    """Remove a storage's files from `path`, then `path` itself if we `made` it and nothing else is in it."""
    parent, last = str(PurePosixPath(path).parent), PurePosixPath(path).name
    verb = "purge" if made else "empty"
    _run(engine, stack, image, parent, (verb, "/probe", last, path, "-"))


def _probe(engine: Engine, stack: str, image: str, verb: str, path: str, name: str) -> Claimed:
    """With the nearest existing parent of `path` mounted: creating a container tells what exists."""
    base, rest = PurePosixPath(path), PurePosixPath()
    while True:
        try:
            tail = "" if rest == PurePosixPath() else str(rest)
            return _run(engine, stack, image, str(base), (verb, "/probe", tail, path, name))
        except NotFound as error:
            if error.code != "path_missing" or base == base.parent:
                raise
            base, rest = base.parent, base.name / rest


def _run(engine: Engine, stack: str, image: str, base: str, arguments: tuple[str, ...]) -> Claimed:
    spec = ContainerSpec(
        name="",
        image=image,
        entrypoint=_MODULE,
        command=arguments,
        mounts=(Mount(base, "/probe"),),
        user="0:0",
        cap_add=_CAPS,
        network="none",
        read_only=True,
    )
    lines = run_probe(engine, stack, spec)
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise Unavailable("the path's probe gave no answer", detail="\n".join(lines[-20:])) from error
    if "problem" in answer:
        raise from_problem(answer["problem"])
    return Claimed(**answer["folder"])


def check_unclaimed(path: str, stack: str, desired: Desired, everything: World, name: str) -> None:
    """`Conflict` if `path` is, lies in or holds the folder of another attached storage, of any stack."""
    for doc in desired.storages.values():
        if doc.host_path and doc.name != name and _overlap(path, doc.host_path):
            raise _taken(path, f'storage "{doc.name}"', doc.host_path)
    for container in everything.of(Component.PAGESERVER):
        source = container.source_of("/storage")
        if source and container.stack != stack and _overlap(path, source):
            raise _taken(path, f'container "{container.name}" of stack "{container.stack}"', source)


def _overlap(one: str, other: str) -> bool:
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def _taken(path: str, owner: str, folder: str) -> Conflict:
    return Conflict(
        f'folder "{path}" belongs to {owner}',
        detail=f'Its folder is "{folder}"; a storage has its folder to itself.',
        hint="Name another folder, or detach that storage first.",
        code="folder_taken",
    )
