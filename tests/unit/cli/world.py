"""A machine for `up` and `down`: an engine and images in memory, and a controller that behaves.

A started controller container writes its token into the state volume, as the real one does, and the
network is a FakeServer that takes that token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from neon_compose.cli.up import Images
from neon_compose.engine import labels
from neon_compose.engine import progress as core
from neon_compose.engine.runtime import ContainerSpec
from neon_compose.errors import NotFound, Unavailable
from neon_compose.model.states import Component
from tests.fakes import FakeEngine
from tests.unit.cli.server import TOKEN

GID = "998"


class FakeImages(Images):
    """Images by name; `built` are those there, `asked` what was built, in order."""

    def __init__(self, *built: str) -> None:
        self.built = set(built)
        self.asked: list[str] = []
        self.answers = True
        self.version_of_tags = "tag"

    def version(self) -> str | None:
        return "20.10.24" if self.answers else None

    def engine(self, progress: core.Progress) -> None:
        if not self.answers:
            raise Unavailable("no Docker engine answers", hint="Type: sudo dockerd &")
        core.already(progress, "engine", "answers")

    def ensure(self, names: tuple[str, ...], progress: core.Progress) -> dict[str, str]:
        for name in names:
            if name not in self.built:
                with core.step(progress, f"image {name}"):
                    self.built.add(name)
                    self.asked.append(name)
        return {name: f"{self.version_of_tags}-of-{name}" for name in names}

    def there(self, name: str) -> str | None:
        return f"tag-of-{name}" if name in self.built else None


class Engine(FakeEngine):
    """A file that isn't there is `NotFound`, as the contract of `read_archive` says."""

    def read_archive(self, name: str, path: str) -> Iterator[bytes]:
        try:
            yield from super().read_archive(name, path)
        except FileNotFoundError as error:
            raise NotFound(f"no {path} in {name}") from error


class Machine:
    """An engine on which a controller comes to life; `controller_dies` makes it end at once."""

    def __init__(self, root: Path) -> None:
        self.engine = Engine(host=root)
        self.engine.program = self._program
        self.taken: set[int] = set()
        self.controller_dies = False
        (root / "var/run").mkdir(parents=True)
        (root / "var/run/docker.sock").touch()
        self._root = root

    def is_free(self, port: int, _address: str) -> bool:
        boxes = self.engine.observe(None).containers
        return port not in self.taken and not any(port in box.published for box in boxes)

    def controller(self, stack: str = "neon") -> ContainerSpec:
        return self.engine.boxes[f"{stack}_controller"].spec

    def _program(self, spec: ContainerSpec) -> tuple[int, list[str]] | None:
        if spec.command[:1] == ("stat",):
            return 0, [GID]
        if spec.labels.get(labels.COMPONENT) != Component.CONTROLLER:
            return None
        if self.controller_dies:
            return 1, ["no luck today"]
        secrets = self._root / spec.mounts[0].source / "secrets"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "token").write_text(f"{TOKEN}\n")
        return None
