"""What should exist: a folder of small JSON documents in the stack's volume.

    stack.json            the last PUT /stack: the stack file and the images
    storages/<name>.json  one per storage        pgs/<name>.json  one per pg
    forgetting/<name>-<time>.json  what safekeepers have to forget of a purged storage

Written aside, fsynced, renamed (`neon_compose.durable`): a document is the old one or the new one.
Does not know what does exist: that is `observe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neon_compose import durable
from neon_compose.disks import Disks, Place
from neon_compose.engine.labels import spec_hash
from neon_compose.errors import Corrupt
from neon_compose.model.history import DEFAULT_AGE, DEFAULT_SIZE
from neon_compose.model.states import Durability, StorageType, Wanted
from neon_compose.wire.rest import SettingValue


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    format: Literal[1] = 1


class StackDoc(_Document):
    """`config` is a stack file as `StackFile.as_document` writes it. `safekeepers` is how many the stack has:
    the most that any stack file of it asked for, since a branch's members can't just go."""

    config: dict[str, Any] = Field(default_factory=dict)
    images: dict[str, str] = Field(default_factory=dict)
    safekeepers: int = Field(default=0, ge=0)


class StorageDoc(_Document):
    """`attaching` until its first content is whole: found so after a crash, the attach is undone.

    `path` is what was asked for, `host_path` the folder that became the storage; both None for a volume.
    `ending`: a detach has begun and is to be finished, with or without its data.
    `made`: the attach made the folder or volume; `fresh`: that held no storage before. Undoing the attach
    removes no more than that.
    """

    name: str
    type: StorageType = StorageType.NATIVE
    path: str | None = None
    host_path: str | None = None
    made: bool = False
    fresh: bool = False
    attaching: bool = False
    ending: Literal["keep", "purge"] | None = None
    storage_id: str | None = None  # of one in a folder, once it is known: folders get moved
    imported: str | None = None  # the engine-side path its content came from
    history: str = DEFAULT_AGE  # as model.history has it
    history_size: str = DEFAULT_SIZE
    created_at: datetime


class PgDoc(_Document):
    """`ports` are those of the pod its port is in; `started` from its first start on. `ending`: a destroy has
    begun and is to be finished; "refuse" stops at writes, which then are still there. Of one that was checked
    out: `home` is the branch it was made with, `previous` the one before `branch`."""

    name: str
    storage_name: str
    branch: str
    from_: str | None = Field(default=None, validation_alias="from", serialization_alias="from")
    port: int
    ports: str
    durability: Durability = Durability.LOCAL
    settings: dict[str, SettingValue] = Field(default_factory=dict)
    wanted: Wanted = Wanted.STOPPED
    started: bool = False
    ending: Literal["refuse", "discard"] | None = None
    home: str | None = None
    previous: str | None = None
    created_at: datetime

    @property
    def given(self) -> str:
        """12 hex characters of what only a restart brings to a compute."""
        return spec_hash([self.port, self.durability, self.settings])


class ForgetDoc(_Document):
    """The ids of all branches of the storage that had this name from `attached_at` on (see purging)."""

    storage: str
    attached_at: datetime
    branches: list[str] = Field(default_factory=list)


Doc = StackDoc | StorageDoc | PgDoc
D = TypeVar("D", StackDoc, StorageDoc, PgDoc, ForgetDoc)


@dataclass(frozen=True)
class Desired:
    """All documents at one moment."""

    stack: StackDoc = field(default_factory=StackDoc)
    storages: Mapping[str, StorageDoc] = field(default_factory=dict)
    pgs: Mapping[str, PgDoc] = field(default_factory=dict)
    forgetting: tuple[ForgetDoc, ...] = ()

    def pgs_of(self, storage: str) -> list[PgDoc]:
        return [pg for pg in self.pgs.values() if pg.storage_name == storage]


class Documents:
    """The folder. One controller writes it; locks above this keep two writers off one name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._disks = Disks((Place(root, "the stack's state volume"),))
        for folder in (root / "storages", root / "pgs", root / "forgetting"):
            durable.make_folder(folder)
            durable.sweep(folder)
        durable.sweep(root)

    def read(self) -> Desired:
        """All documents; `Corrupt` names one that can't be read."""
        return Desired(
            _load(StackDoc, self.root / "stack.json") or StackDoc(),
            {doc.name: doc for doc in _load_all(StorageDoc, self.root / "storages")},
            {doc.name: doc for doc in _load_all(PgDoc, self.root / "pgs")},
            tuple(_load_all(ForgetDoc, self.root / "forgetting")),
        )

    def put(self, doc: Doc | ForgetDoc) -> None:
        """Durable on return."""
        with self._disks.explained():
            durable.write_file(self._path(doc), doc.model_dump_json(indent=1).encode())

    def remove(self, doc: Doc | ForgetDoc) -> None:
        """Durable on return; of an absent one: success."""
        path = self._path(doc)
        with self._disks.explained():
            path.unlink(missing_ok=True)
            durable.sync_folder(path.parent)

    def _path(self, doc: Doc | ForgetDoc) -> Path:
        match doc:
            case StackDoc():
                return self.root / "stack.json"
            case StorageDoc():
                return self.root / "storages" / f"{doc.name}.json"
            case PgDoc():
                return self.root / "pgs" / f"{doc.name}.json"
            case ForgetDoc():
                when = f"{doc.attached_at:%Y%m%d-%H%M%S-%f}"
                return self.root / "forgetting" / f"{doc.storage}-{when}.json"


def _load_all(model: type[D], folder: Path) -> list[D]:
    """By name. A document that goes away meanwhile is as good as gone before."""
    found = (_load(model, path) for path in sorted(folder.glob("*.json")))
    return [doc for doc in found if doc is not None]


def _load(model: type[D], path: Path) -> D | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as error:
        raise Corrupt(
            f'document "{path}" can\'t be read',
            detail=str(error),
            hint="It is one of the controller's own; restore it from a copy, or remove it.",
            code="bad_document",
        ) from error
