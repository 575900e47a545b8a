"""compute.json: how far a generation got. One small JSON file beside the data it speaks of.

    {"format": 1, "pg", "generation", "branch_id", "tip", "stage", "boot_id", "start_lsn",
     "port", "expected_checkpoint", "crashed", "opens_at", "layers", "term", "host"}

Replaced by rename, never in place. Before there is a marker it is not synced: the file and what it speaks
of reach the disk by the same background sync, after which the marker appears. So without a marker of this
boot nothing in a generation, this file included, is to be believed (`marker.py`). With a marker everything
is, so from then on the file is synced each time (`Settler.holding` keeps the two apart): else a power cut
could leave it empty, and good data doubtful.

Stages only go forward; a kill -9 between two leaves the earlier one, whose work is done again:
    PREPARED  the folder is there; whatever else is in it is an unfinished layout
    LAID_OUT  PGDATA is complete; written after the last file was made
    OPENED    clients may have written; written before the gate lets the first one in
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from pathlib import Path
from uuid import UUID

from neon_compose.durable import aside
from neon_compose.errors import Corrupt

_FORMAT = 1


class Stage(IntEnum):
    PREPARED = 0
    LAID_OUT = 1
    OPENED = 2


@dataclass(frozen=True)
class Record:
    """`start_lsn` is where this compute's own WAL begins; `expected_checkpoint` what the running or next
    start must reach, `crashed` whether it begins with crash recovery. `opens_at` is the moment that the first
    recovery had to reach, empty if the layout left nothing to replay. `term` is the one that it writes under,
    0 if no safekeeper receives its WAL; `host` and `port` are where safekeepers reach it.

    `layers` are what it is opened from, bottom to top, the last of them `tip`. Its branch may get newer ones
    while it runs; it stays with these, so they are not to be deleted. Empty in records that are older than
    the field: then they are its branch's layers up to `tip`."""

    pg: str
    generation: str
    branch_id: str
    tip: str
    stage: Stage = Stage.PREPARED
    boot_id: str = ""
    start_lsn: str = ""
    port: int | None = None
    expected_checkpoint: str = ""
    crashed: bool = False
    opens_at: str = ""
    layers: tuple[str, ...] = ()
    term: int = 0
    host: str = ""

    @property
    def unproven(self) -> bool:
        """Whether it must be laid out anew before a start: only a first run shows where recovery ended
        (moment.py), and no client was let in."""
        return self.stage is Stage.LAID_OUT and bool(self.opens_at)

    def at(self, stage: Stage) -> Record:
        """The record at that stage, or later if it was."""
        return replace(self, stage=max(stage, self.stage))


def write(path: Path, record: Record, *, durable: bool = False) -> None:
    """Replace the file in one step; survives kill -9, and a power cut if `durable` (see the module)."""
    document = {"format": _FORMAT, **asdict(record), "stage": record.stage.name.lower()}
    with aside(path) as file:
        file.write(json.dumps(document, indent=1).encode() + b"\n")
        file.rename(durable=durable)


def read(path: Path) -> Record | None:
    """The record, None if there is no file. Raises `Corrupt` for one that can't be read."""
    try:
        document = json.loads(path.read_bytes())
        if document.pop("format") != _FORMAT:
            raise ValueError("unknown format")
        stage = Stage[document.pop("stage").upper()]
        layers = tuple(str(UUID(one)) for one in document.pop("layers", ()))
        return Record(**document, stage=stage, layers=layers)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f'"{path}" can\'t be read', detail=f"{type(error).__name__}: {error}.") from error
