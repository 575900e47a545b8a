"""What went on in a branch, minute by minute: the answer of the pageserver and of the REST API."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

MINUTES = 60  # by default
MOST_MINUTES = 10_000  # a week


class LogMinute(BaseModel):
    """Commits that came within a minute of the compute's clock.

    `first_lsn` is the moment after the first of them, `last_lsn` that after the last. `catalog_changes`
    counts those that changed system catalogs: DDL, GRANT, temporary tables, TRUNCATE, but not ANALYZE.
    `wal_bytes` is what was written since the last commit before them.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    minute: datetime  # UTC
    commits: int
    catalog_changes: int
    first_lsn: str
    last_lsn: str
    wal_bytes: int


class BranchLog(BaseModel):
    """The newest minutes with commits of a branch's own WAL, the oldest of them first; `more` if older ones
    were left out. A clock that was set back makes minutes that go back. The branch's own moments go from
    `start_lsn` to `end_lsn`: the same if safekeepers have no WAL of it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    start_lsn: str
    end_lsn: str
    minutes: list[LogMinute]
    more: bool
