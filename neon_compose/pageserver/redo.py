"""The redo job: Postgres replays WAL over a tip in scratch, and what it changed becomes a delta layer.

Owns the run in scratch. Does not choose how far (the walk knows where records end), and does not name the
layer in a manifest. Never touches a running compute: it reads the tip's layers and a folder of WAL.

Upstream's archive recovery stops at a target and shuts down. Its last restartpoint writes every page and
moves pg_control to the newest checkpoint it replayed: that is the redo LSN of the new layer, and the end of
the last record it replayed its consistent LSN. Without a checkpoint in the WAL nothing would be gained, and
there is no layer. WAL that is damaged before the target is an error of Postgres's own (`_ENDED_EARLY`),
never a short layer.

Crash argument: scratch is emptied when the pageserver starts, and a layer has its index last, by create-only
link. Killed at any step there is the old tip, and at most files of an id that nothing names.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from neon_compose.compute import command, layout
from neon_compose.compute.layout import CONTROL_ON_DISK, Tip
from neon_compose.compute.paths import ComputePaths
from neon_compose.errors import Corrupt
from neon_compose.layer.branchmap import read_map
from neon_compose.layer.delta import Stopped, pack_delta
from neon_compose.layer.overlay import read_overlay
from neon_compose.layer.pack import LayerFiles
from neon_compose.model.lsn import Lsn
from neon_compose.postgres import conf
from neon_compose.postgres.control import ControlFile
from neon_compose.postgres.cut import Cut
from neon_compose.postgres.programs import ProgramFailed, run_server
from neon_compose.postgres.versions import Version

_ENDED_EARLY = "recovery ended before configured recovery target was reached"
_PREPARED = 1000  # transactions; replaying one needs room for it, whatever the compute was set to
SETTINGS: dict[str, str] = {
    **conf.DEFAULTS,
    "listen_addresses": "",
    "hot_standby": "off",
    "shared_buffers": "128MB",
    "max_prepared_transactions": str(_PREPARED),
    "max_logical_replication_workers": "0",
    "restore_command": "/bin/false",  # Postgres insists on one; all WAL is in pg_wal
    "recovery_target_timeline": "current",
    "recovery_target_inclusive": "on",
    "recovery_target_action": "shutdown",
}


@dataclass(frozen=True)
class Redo:
    """Where jobs run and what they run with."""

    version: Version
    shim: Path
    maps: Path
    layers: Path
    scratch: Path

    def run(
        self, tip: Tip, cut: Cut, last_record: Lsn, layer_id: UUID, watch: Callable[[], None]
    ) -> LayerFiles | None:
        """A delta layer over `tip` as of the end of `cut`, where the record at `last_record` ends; None if
        the WAL up to there has no newer checkpoint. Durable on return.

        `watch` is called now and then; what it raises ends the job. Raises `Corrupt` for WAL that does not
        lead to its end, `ProgramFailed` for whatever else stopped Postgres.
        """
        paths = ComputePaths(self.scratch / f"redo-{layer_id}")
        paths.root.mkdir(mode=0o700)
        try:
            layout.lay_out_for_redo(paths, tip, layer_id, cut)
            self._replay(paths, tip, last_record, watch)
            if ControlFile.read(paths.control).redo == tip.control.redo:
                return None
            stopped = Stopped(
                pgdata=paths.data,
                branch_map=read_map(self._map(tip)),
                overlay=read_overlay(paths.overlay),
                control_name=f"global/{CONTROL_ON_DISK}",
            )
            return pack_delta(stopped, self.layers, layer_id, cut.end)
        finally:
            shutil.rmtree(paths.root, ignore_errors=True)

    def _map(self, tip: Tip) -> Path:
        return self.maps / f"{tip.tip}.map"

    def _replay(self, paths: ComputePaths, tip: Tip, target: Lsn, watch: Callable[[], None]) -> None:
        settings = {**SETTINGS, "unix_socket_directories": str(paths.run), "recovery_target_lsn": str(target)}
        (paths.data / "postgresql.conf").write_text(conf.render(settings.items(), "redo"))
        (paths.data / "pg_hba.conf").write_text("local all all reject\n")
        for name in ("pg_ident.conf", "recovery.signal"):
            (paths.data / name).touch()
        # Nothing in scratch outlives a crash of the machine, so nothing has to be synced.
        paths.marker.touch()
        environment = command.shim_environment(self.shim, paths, self._map(tip), self.layers, "off")
        try:
            run_server(
                [str(self.version.program("postgres")), "-D", str(paths.data)],
                paths.root / "postgres.log",
                watch=watch,
                env={**environment, "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
                cwd=paths.root,
            )
        except ProgramFailed as failure:
            if _ENDED_EARLY not in failure.last_lines:
                raise
            raise Corrupt(
                f"WAL could not be replayed up to {target}", detail=failure.last_lines, code="redo_failed"
            ) from failure
