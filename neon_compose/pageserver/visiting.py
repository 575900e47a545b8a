"""Visiting a moment: a private Postgres over a branch as it was then, gone again a moment later.

Owns the short-lived server in a folder of scratch. It is laid out as a compute is, proven to have opened at
the moment as by a compute's gate, and nobody but us reaches it. Nothing of it gets into the storage: it has
layers and maps to read only, and a copy of the WAL.

Crash argument: all it writes is in its folder, which whoever asked for the visit removes, or the next
pageserver, which begins with empty scratch. Its processes are the container's and end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from neon_compose.compute import command, gate, layout
from neon_compose.compute.layout import Tip, Tips
from neon_compose.compute.paths import ComputePaths
from neon_compose.layer.branchmap import read_map
from neon_compose.layer.compare import Content, PageSums
from neon_compose.layer.overlay import read_overlay
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Cluster, Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.pageserver.moments import Start
from neon_compose.postgres import conf
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.programs import Watch, WatchPid, ignore

SETTINGS: dict[str, str] = {
    **conf.DEFAULTS,
    "autovacuum": "off",  # what it writes is then what recovery wrote
    "max_logical_replication_workers": "0",
    "max_prepared_transactions": "1000",  # replaying one needs room for it, whatever the compute was set to
}
# What a database or role is set to, and login triggers, must neither keep us out nor write.
SESSION = (
    "-c event_triggers=off -c search_path=pg_catalog -c client_encoding=UTF8 -c statement_timeout=0 "
    "-c session_preload_libraries= -c local_preload_libraries="
)


class VisitedPostgres(Protocol):
    """A server over a data directory that is laid out; tests have a fake. `running` ends with a clean stop.
    Raises as `ScratchPostgres` does."""

    def running(self, settings: Mapping[str, str], watch: Watch) -> AbstractContextManager[None]: ...

    def execute(self, database: str, sql: str) -> list[tuple[object, ...]]: ...

    def run(self, program: str, args: Sequence[str], *, watch: WatchPid = ignore) -> str: ...


MakeServer = Callable[[Path, Mapping[str, str]], VisitedPostgres]  # in its folder, with its environment


@dataclass(frozen=True)
class Visits:
    """`cut` is the WAL that opens a branch at a moment, if any has to be replayed."""

    store: ObjectStore
    tips: Tips
    cut: Callable[[Manifest, Lsn], Cut | None]
    shim: Path
    maps: Path
    layers: Path
    make_server: MakeServer

    @contextmanager
    def at(self, start: Start, cluster: Cluster, folder: Path, watch: Watch) -> Iterator[VisitedPostgres]:
        """A server opened at `start` in the new `folder`. Raises `Corrupt` if it opens anywhere else."""
        manifest = manifests.read_manifest(self.store, start.point.branch_id)
        tip = self.tips.get(start.layers)
        cut = self.cut(replace(manifest, layers=start.layers), start.point.lsn)
        paths = ComputePaths(folder)
        folder.mkdir(mode=0o700)
        layout.lay_out(paths, tip, start.point.branch_id, cut)
        (paths.data / "pg_ident.conf").touch()
        paths.marker.touch()  # nothing in scratch outlives a crash of the machine
        environment = command.shim_environment(self.shim, paths, self._map(tip), self.layers, "off")
        server = self.make_server(folder, environment)
        with server.running(SETTINGS, watch):
            gate.check(gate.standing(_Session(server)), _expected(tip, cut, cluster, paths))
            yield server

    def content(self, start: Start, folder: Path, sums: PageSums) -> Content:
        """What was visited in `folder`, after the visit."""
        paths = ComputePaths(folder)
        branch_map = read_map(self._map(self.tips.get(start.layers)))
        return Content(paths.data, branch_map, read_overlay(paths.overlay), sums)

    def _map(self, tip: Tip) -> Path:
        return self.maps / f"{tip.tip}.map"


@dataclass(frozen=True)
class _Session:
    """The gate's way to ask."""

    server: VisitedPostgres

    def row(self, sql: str) -> tuple[Any, ...]:
        return self.server.execute("postgres", sql)[0]

    def close(self) -> None:
        return


def _expected(tip: Tip, cut: Cut | None, cluster: Cluster, paths: ComputePaths) -> gate.Expected:
    moment = tip.moment(paths, cut.end) if cut is not None and tip.replays(cut) else None
    return gate.Expected(cluster.system_identifier, tip.control.checkpoint, moment)
