"""What a storage is to be filled with, as a step and what that step reads: one way for a new storage and for
a newer copy in one that is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import SecretStr

from neon_compose.controller import steps as do
from neon_compose.controller.dumps import opened_dump
from neon_compose.controller.execute import Execution
from neon_compose.controller.fetching import Origin
from neon_compose.controller.site import Site
from neon_compose.model.origin import Server, is_server
from neon_compose.wire.pageserver import ImportAs
from neon_compose.wire.rest import StorageAction, StorageIn

R = TypeVar("R", StorageIn, StorageAction)


@dataclass(frozen=True)
class Upload:
    """A dump that comes with the request: `chunks` end with it, or raise when the client is gone."""

    format: str
    chunks: Iterator[bytes]


@dataclass(frozen=True)
class Content:
    """A step, and what its execution has to be given."""

    step: do.Content
    chunks: Iterator[bytes] | None = None
    origin: Origin | None = None

    def give(self, execution: Execution) -> None:
        execution.chunks, execution.origin = self.chunks, self.origin


def without_password(request: R) -> R:
    """The request with a server's password apart from its address. Raises `Invalid` for a bad address."""
    if request.import_ is None or not is_server(request.import_):
        return request
    server = Server.parse(request.import_)
    changes: dict[str, object] = {"import_": str(server)}
    if server.password is not None:
        changes["import_password"] = SecretStr(server.password)
    return request.model_copy(update=changes)


def planned(
    site: Site, storage: str, source: str | None, upload: Upload | None, what: ImportAs
) -> do.Content:
    """The step alone, for a dry run: no engine-side path is opened."""
    if source is not None and is_server(source):
        return do.ImportOrigin(storage, image=site.image("pageserver"), what=what)
    if upload is not None or source is not None:
        return do.ImportDump(storage, format=upload.format if upload else "auto", what=what)
    return do.Initialise(storage)


@contextmanager
def opened(
    site: Site,
    storage: str,
    source: str | None,
    password: SecretStr | None,
    upload: Upload | None,
    what: ImportAs,
) -> Iterator[Content]:
    """From `upload`, from the server or engine-side path `source`, or a fresh cluster. A path is held open
    meanwhile."""
    step = planned(site, storage, source, upload, what)
    if upload is not None:
        yield Content(step, chunks=upload.chunks)
    elif source is None:
        yield Content(step)
    elif is_server(source):
        server = Server.parse(source)
        yield Content(
            step, origin=Origin(replace(server, password=password.get_secret_value() if password else None))
        )
    else:
        with opened_dump(site.engine, site.stack, site.probe_image(), source) as found:
            if found is not None:
                yield Content(do.ImportDump(storage, format=found[0], what=what), chunks=found[1])
            else:  # a data directory
                step = do.ImportOrigin(storage, image=site.image("pageserver"), what=what)
                yield Content(step, origin=Origin(folder=source))
