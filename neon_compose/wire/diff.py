"""What differs between two moments of a storage: the answer of the pageserver and of the REST API.

Pages have 8192 bytes. A page counts as changed if its bytes differ, hint bits included, and if only one of
both moments has it.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Change(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    REWRITTEN = "rewritten"  # all of it is in another file: TRUNCATE, VACUUM FULL, some ALTER TABLE


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Pages(_Answer):
    before: int = 0
    after: int = 0
    changed: int = 0


class TableDiff(_Answer):
    """A table, materialized view or sequence with its TOAST table, and its indexes. `kind` says which."""

    name: str  # schema.table
    kind: str
    change: Change
    pages: Pages
    index_pages: Pages


class DatabaseDiff(_Answer):
    """A database that differs. `ddl` is a unified diff of what `pg_dump --schema-only` says of it; `tables`
    are those that differ. Of one that only one moment has there is neither."""

    name: str
    change: Change
    ddl: str = ""
    tables: list[TableDiff] = Field(default_factory=list)


class DiffMoment(_Answer):
    """Which moment of which branch was meant; `branch` is its id if it has lost its name."""

    branch: str
    lsn: str


class Diff(_Answer):
    """What is in `after` and not in `before` was added."""

    before: DiffMoment
    after: DiffMoment
    databases: list[DatabaseDiff]


class DiffSide(BaseModel):
    """A moment of a branch, by default its end; or of any branch, if `moment` is a snapshot's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    branch: str | None = None
    moment: str | None = None


class DiffRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    before: DiffSide
    after: DiffSide
