"""Documents in the folder of a fetch: what the pageserver asks a fetching container, and what it found.

/work/scratch/fetch-<hex>/request.json   FetchRequest, 0600: may hold a password
                          pgpass         the password for libpq, 0600; made and removed by the fetch
                          data/ or dump  what came
                          report.json    FetchReport, last: the fetch is whole
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REQUEST, REPORT = "request.json", "report.json"
DATA, DUMP, SPACES = "data", "dump", "spaces"
SOCKET_FOLDER = "/run/source"  # where the folder of a source's Unix socket is mounted
FOLDER = "/source"  # where a source's data directory is mounted


class Via(StrEnum):
    """How a database came."""

    BACKUP = "backup"
    DUMP = "dump"
    FOLDER = "folder"


class FetchRequest(BaseModel):
    """`server` is a connection URL without a password; `folder` a data directory, as people know it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str | None = None
    password: str | None = Field(default=None, repr=False)
    folder: str | None = None


class Fetch(BaseModel):
    """A folder in scratch that waits for what a container fetches into it; `id` is its name."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str


class FetchReport(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    via: Via
    database: str | None = None  # the one a URL should name
    checked: Literal[True] = True
