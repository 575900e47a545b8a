"""In-memory stand-ins for the seams of image builds: an engine that builds, and a machine to run on."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from neon_compose.engine.builder import OURS, Build
from neon_compose.engine.machine import Poll
from neon_compose.engine.progress import Say, Step
from neon_compose.errors import Unavailable


class FakeBuilder:
    """Keeps tags and what was built. `registry` holds references it can pull; `broken` tags fail to build."""

    def __init__(self, *, answers: bool = True, registry: Sequence[str] = ()) -> None:
        self.answers = answers
        self.registry = set(registry)
        self.present: set[str] = set()
        self.in_use: set[str] = set()
        self.broken = ""
        self.builds: list[Build] = []
        self.imported: list[str] = []
        self.pulled: list[str] = []

    def ping(self) -> str:
        if not self.answers:
            raise Unavailable("the Docker engine does not answer")
        return "20.10.24"

    def tags(self) -> frozenset[str]:
        self.ping()
        return frozenset(tag for tag in self.present if tag.startswith(OURS))

    def build(self, build: Build, say: Say) -> None:
        say("Step 1/1 : FROM")
        if self.broken and self.broken in build.tag:
            raise Unavailable(
                f'image "{build.tag}" could not be built', detail="E: no such package", code="build_failed"
            )
        missing = {v for v in (build.args or {}).values() if v.startswith(OURS)} - self.present
        if missing:
            raise AssertionError(f"built before its parents: {missing}")
        self.builds.append(build)
        self.present.add(build.tag)

    def import_root(self, tag: str, tar: Path) -> None:  # noqa: ARG002
        self.imported.append(tag)
        self.present.add(tag)

    def pull(self, reference: str, tag: str, say: Say) -> None:  # noqa: ARG002
        if reference not in self.registry:
            raise Unavailable(f'could not pull image "{reference}"')
        self.pulled.append(reference)
        self.present.add(tag)

    def remove(self, tag: str) -> None:
        if tag not in self.in_use:
            self.present.discard(tag)

    def built(self) -> list[str]:
        """The images built, in order, without their hashes."""
        return [build.tag.removeprefix(OURS).split(":")[0] for build in self.builds]


def files_of(build: Build) -> dict[str, bytes]:
    """What a build's context holds."""
    with tarfile.open(fileobj=io.BytesIO(build.context)) as archive:
        members = ((member.name, archive.extractfile(member)) for member in archive)
        return {name: content.read() for name, content in members if content}


class FakeMachine:
    """A machine of `programs` and `files`; what is run is noted, `on_run` may change it or fail it."""

    def __init__(
        self,
        *,
        root: bool = True,
        programs: Sequence[str] = (),
        on_run: Callable[[Sequence[str]], int] = lambda _argv: 0,
        on_spawn: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.root = root
        self.programs = set(programs)
        self.files: dict[str, str] = {}
        self.ran: list[list[str]] = []
        self.spawned: list[list[str]] = []
        self._on_run = on_run
        self._on_spawn = on_spawn

    def is_root(self) -> bool:
        return self.root

    def has(self, program: str) -> bool:
        return program in self.programs

    def exists(self, path: str) -> bool:
        return path in self.files

    def read(self, path: str) -> str:
        return self.files.get(path, "")

    def run(self, argv: Sequence[str], say: Say) -> tuple[int, str]:
        say("working")
        self.ran.append(list(argv))
        return self._on_run(argv), "the last line"

    def spawn(self, argv: Sequence[str], log: str) -> Poll:
        self.spawned.append(list(argv))
        self.files.setdefault(log, "level=error msg=oops\n")
        return self._on_spawn

    def remove(self, path: str) -> None:
        self.files.pop(path, None)


class Told:
    """A progress callable that keeps what it was told."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        self.steps.append(step)

    def lines(self) -> list[str]:
        """Each step as `name state`, without the lines in between."""
        return [f"{s.name} {s.state}" for s in self.steps if s.state != "progress"]
