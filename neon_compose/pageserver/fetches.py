"""Folders in scratch that fetching containers fill (wire.fetching). A pageserver's start empties scratch."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path

from pydantic import ValidationError

from neon_compose.errors import NotFound, Unavailable
from neon_compose.wire.fetching import REPORT, REQUEST, Fetch, FetchReport, FetchRequest

_ID = re.compile(r"fetch-[0-9a-f]{16}")


class Fetches:
    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def begin(self, request: FetchRequest) -> Fetch:
        """A new folder, with the request in it for our user's eyes only."""
        name = f"fetch-{secrets.token_hex(8)}"
        folder = self._scratch / name
        folder.mkdir(mode=0o700)
        fd = os.open(folder / REQUEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(request.model_dump_json())
        return Fetch(id=name)

    def folder(self, fetch_id: str) -> Path:
        """Raises `NotFound` if there is no such fetch: the pageserver was started anew since."""
        folder = self._scratch / fetch_id
        if _ID.fullmatch(fetch_id) is None or not folder.is_dir():
            raise NotFound(f'fetch "{fetch_id[:40]}" does not exist', code="no_fetch")
        return folder

    def report(self, folder: Path) -> FetchReport:
        """What a container that came to its end says it brought."""
        try:
            return FetchReport.model_validate_json((folder / REPORT).read_bytes())
        except (OSError, ValidationError) as error:
            raise Unavailable("the fetch did not come to its end", code="fetch_cut_off") from error

    def drop(self, fetch_id: str) -> None:
        """Of an absent one: success."""
        if _ID.fullmatch(fetch_id):
            shutil.rmtree(self._scratch / fetch_id, ignore_errors=True)
