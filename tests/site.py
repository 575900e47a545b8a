"""A whole controller over fakes, for tests of the controller and of the API."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from neon_compose.controller import stack
from neon_compose.controller.desired import Doc, Documents, ForgetDoc, StackDoc
from neon_compose.controller.network import ensure_network
from neon_compose.controller.pageservers import Pageservers
from neon_compose.controller.safekeepers import Safekeepers
from neon_compose.controller.secrets import ensure_secrets
from neon_compose.controller.site import Site
from neon_compose.wire.rest import StackIn
from tests.fakes import FakeEngine
from tests.fakes_keepers import SeenSafekeepers
from tests.fakes_pageserver import FakePageservers, FakeStore
from tests.faults import Faults
from tests.kills.mortal import Life, Mortal

STACK = "t"
IMAGES = {
    name: f"neon-compose-{name}:1"
    for name in ("base", "controller", "pageserver", "safekeeper", "compute", "minio")
}


@dataclass
class Fixture:
    """`site` over `engine`, `pageservers` and `safekeepers`; `host` is the engine's machine's root folder."""

    site: Site
    engine: FakeEngine
    pageservers: FakePageservers
    safekeepers: SeenSafekeepers
    faults: Faults
    host: Path

    def world(self) -> object:
        """All that exists and is wanted, to compare."""
        stores = {n: s for n, s in self.pageservers.stores.items() if _is_there(s)}
        files = sorted(str(path) for path in self.host.rglob("*") if path.is_file())
        return self.engine.contents(), self.site.documents.read(), deepcopy(stores), files

    def bring_safekeepers(self, count: int) -> None:
        """As a stack file does that asks for `count`, and for nothing else."""
        config = {"name": STACK, "minio": False, "safekeepers": count, "storages": {}, "pgs": {}}
        assert stack.apply(self.site, StackIn(config=config)).problems == []

    def again(self, life: Life | None = None) -> Site:
        """Another controller over the same state, as after a crash; with `life`, one that can be killed."""
        root = self.site.documents.root
        if life is None:
            return _site(root, self.engine, self.pageservers, self.safekeepers)
        return Site(
            stack=STACK,
            engine=Mortal(self.engine, life),
            documents=Mortal(FaultyDocuments(root, self.engine.faults), life),
            secrets=ensure_secrets(root),
            pageservers=Pageservers(lambda address: Mortal(self.pageservers.make(address), life)),
            safekeepers=Safekeepers(lambda address: Mortal(self.safekeepers.make(address), life)),
            state_path="/state",
            fault=life.moment,
        )


class FaultyDocuments(Documents):
    """Documents whose changes count, and fail, with those of the engine and the pageservers."""

    def __init__(self, root: Path, faults: Faults) -> None:
        super().__init__(root)
        self._faults = faults

    def put(self, doc: Doc | ForgetDoc) -> None:
        with self._faults.around(f"put {type(doc).__name__}"):
            super().put(doc)

    def remove(self, doc: Doc | ForgetDoc) -> None:
        with self._faults.around(f"remove {type(doc).__name__}"):
            super().remove(doc)


@contextmanager
def made() -> Iterator[Fixture]:
    """A stack with a network, no storage and no pg.

    Its files are in memory where that can be had (each document is fsynced), and not below pytest's
    folders, which nobody but us may enter.
    """
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="neon-test-", dir=memory) as folder:
        Path(folder).chmod(0o755)
        fixture = _make(Path(folder))
        try:
            yield fixture
        finally:
            fixture.site.close()


def _make(folder: Path) -> Fixture:
    host = folder / "host"
    host.mkdir(0o755)
    faults = Faults()
    engine = FakeEngine(host, faults)
    engine.host_view = ["Iface Destination"]
    pageservers = FakePageservers(engine)
    safekeepers = SeenSafekeepers(engine)
    site = _site(folder / "state", engine, pageservers, safekeepers)
    site.documents.put(StackDoc(images=IMAGES, config={"name": STACK, "minio": False}))
    ensure_network(engine, STACK, IMAGES["base"], None)
    site.ready.set()
    return Fixture(site, engine, pageservers, safekeepers, faults, host)


def _is_there(store: FakeStore) -> bool:
    return store.folder is None or (store.folder / "storage.json").exists()


def _site(root: Path, engine: FakeEngine, pageservers: FakePageservers, safekeepers: SeenSafekeepers) -> Site:
    return Site(
        stack=STACK,
        engine=engine,
        documents=FaultyDocuments(root, engine.faults),
        secrets=ensure_secrets(root),
        pageservers=Pageservers(pageservers.make),
        safekeepers=Safekeepers(safekeepers.make),
        state_path="/state",
    )
