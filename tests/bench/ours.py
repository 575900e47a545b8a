"""Our side: a stack of its own, driven through REST and the installed program as its users do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from tests.bench.engine import Binds, Engine, Failed
from tests.bench.pairs import Stopwatch
from tests.e2e.stack import Stack

_SETTLED_S = 120.0
_IMPORT_S = 3600.0
DEFAULTS: Mapping[str, str] = MappingProxyType({})  # settings of a pg


@dataclass(frozen=True)
class Pg:
    """A running pg. `conninfo` goes over its published port."""

    name: str
    storage: str
    conninfo: str


class Ours:
    """A stack that is up or will be by `up`; `down` at the end."""

    def __init__(self, stack: Stack, engine: Engine) -> None:
        self.stack = stack
        self._engine = engine
        self._passwords: dict[str, str] = {}
        self._http: httpx.Client | None = None
        self._count = 0

    # ---- the stack

    def up(self) -> None:
        self.stack.up()

    def down(self) -> None:
        if self._http:
            self._http.close()
        self.stack.run("down", "-v", "--yes")

    @property
    def http(self) -> httpx.Client:
        """One client, kept: what is measured is the request, not making a connection."""
        if self._http is None:
            self._http = self.stack.http()
        return self._http

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> Any:
        response = self.http.request(method, path, json=body)
        if response.is_error:
            raise Failed(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None

    def attach(self, name: str, dump: Path) -> None:
        """Import a dump as a new storage, as the CLI does it."""
        words = ("storage", "attach", "-n", name, "--type", "native", "--import", str(dump))
        ran = self.stack.run(*words, timeout_s=_IMPORT_S)
        if ran.code:
            raise Failed(f"import of {dump.name}: exit {ran.code}\n{ran.err}{self.stack.logs()}")

    # ---- branches

    def new_name(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def request_branch(
        self,
        name: str,
        storage: str,
        source: str = "",
        durability: str | None = None,
        settings: Mapping[str, str] = DEFAULTS,
    ) -> dict[str, Any]:
        """One request: a new branch of `source`, by default the import, a pg over it, started."""
        body = {
            "name": name,
            "storage_name": storage,
            "from": source or f"{storage}@import",
            "durability": durability,
            "settings": dict(settings),
            "start": True,
        }
        made: dict[str, Any] = self.call("PUT", "/pgs", body)
        return made

    def open_branch(
        self,
        storage: str,
        source: str = "",
        durability: str | None = None,
        settings: Mapping[str, str] = DEFAULTS,
    ) -> tuple[Pg, psycopg.Connection, float]:
        """The pg, the first session that answered `SELECT 1`, and the ms from the request until then."""
        password = self._password(storage)
        name = self.new_name()
        watch = Stopwatch()
        pg = self._pg(self.request_branch(name, storage, source, durability, settings), password)
        session = psycopg.connect(pg.conninfo, autocommit=True)
        session.execute("select 1").fetchone()
        return pg, session, watch.ms()

    def _pg(self, made: dict[str, Any], password: str) -> Pg:
        url = urlsplit(made["url"])
        conninfo = (
            f"host=127.0.0.1 port={made['port']} user={url.username or 'neon_admin'} password={password} "
            f"dbname={url.path.strip('/') or 'postgres'}"
        )
        return Pg(made["name"], made["storage_name"], conninfo)

    def _password(self, storage: str) -> str:
        """The role's password, which all pgs of a storage share; the first branch made tells it."""
        if storage not in self._passwords:
            name = self.new_name()
            self.request_branch(name, storage)
            url = urlsplit(self.call("GET", f"/pgs/{name}/url")["url"])
            self._passwords[storage] = url.password or ""
            self.drop(name, storage)
        return self._passwords[storage]

    def settle(self, pg: Pg) -> None:
        """Wait until a new branch's files are on disk, so that the next side isn't disturbed."""
        give_up = time.monotonic() + _SETTLED_S
        while self.call("GET", f"/pgs/{pg.name}")["settling"]:
            if time.monotonic() > give_up:
                raise Failed(f"{pg.name} is still settling after {_SETTLED_S:.0f} s")
            time.sleep(0.02)

    def start(self, name: str) -> float:
        """Start a pg; gives the ms."""
        watch = Stopwatch()
        self.call("POST", f"/pgs/{name}/actions", {"action": "start"})
        return watch.ms()

    def stop(self, name: str) -> float:
        """Stop a pg; gives the ms."""
        watch = Stopwatch()
        self.call("POST", f"/pgs/{name}/actions", {"action": "stop"})
        return watch.ms()

    def destroy(self, name: str, storage: str) -> dict[str, float]:
        """Destroy a stopped pg and delete its branch; gives the ms of each."""
        times: dict[str, float] = {}
        for step, path in (
            ("destroy", f"/pgs/{name}?discard_writes=true"),
            ("delete", f"/storages/{storage}/branches/{name}"),
        ):
            watch = Stopwatch()
            self.call("DELETE", path)
            times[step] = watch.ms()
        return times

    def drop(self, name: str, storage: str) -> None:
        self.stop(name)
        self.destroy(name, storage)

    @contextmanager
    def branch(
        self,
        storage: str,
        source: str = "",
        durability: str | None = None,
        settings: Mapping[str, str] = DEFAULTS,
    ) -> Iterator[tuple[Pg, psycopg.Connection, float]]:
        """A branch for a while; the session is closed and all is dropped at the end."""
        pg, session, ms = self.open_branch(storage, source, durability, settings)
        try:
            yield pg, session, ms
        finally:
            session.close()
            self.settle(pg)
            self.drop(pg.name, pg.storage)

    # ---- other ways in, and what is on disk

    def direct(self, pg: Pg) -> str:
        return str(self.call("GET", f"/pgs/{pg.name}/url")["direct"])

    def socket(self, pg: Pg) -> str:
        """For a client that has `socket_binds`."""
        return str(self.call("GET", f"/pgs/{pg.name}/url")["socket"])

    def socket_binds(self, pg: Pg) -> Binds:
        """The socket's folder at the path the URL names."""
        folder = psycopg.conninfo.conninfo_to_dict(self.socket(pg))["host"]
        return {str(folder): str(folder)}

    def container(self, pg: Pg) -> str:
        return f"{self.stack.name}_pg_{pg.name}"

    def folder(self, pg: Pg) -> str:
        """Where the compute's own files are, on the engine's host: PGDATA, overlay, marker."""
        return self._engine.source_of(self.container(pg), "/neon/pg")
