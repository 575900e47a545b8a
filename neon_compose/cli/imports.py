"""What `--import` names, and how it gets to the controller: a dump is sent, the rest is fetched over there.

A server's password comes from where libpq looks, else from a prompt once the server has asked for one; it
travels in the request's body.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os.path import normpath
from pathlib import Path
from typing import Any

from neon_compose.cli.session import Session
from neon_compose.errors import Invalid
from neon_compose.model.origin import is_server


@dataclass(frozen=True)
class Into:
    """What is asked of the API with a content: a new storage, or another content of one."""

    storage: str
    method: str
    path: str
    body: dict[str, Any]
    upload: dict[str, object]  # parameters that stand for `body` where a dump is the body


def new_storage(body: dict[str, Any]) -> Into:
    """Attach the storage that `body` describes."""
    upload = {key: body.get(key) for key in ("type", "path", "history", "history_size")}
    return Into(body["name"], "PUT", "/storages", body, upload)


def refreshed(storage: str) -> Into:
    """Give `main` of the storage another content."""
    body = {"action": "refresh"}
    return Into(storage, "POST", f"/storages/{storage}/actions", body, {"refresh": True})


def bring_again(session: Session, into: Into) -> dict[str, object]:
    """Do it with what the storage was made from, which the controller knows, but no password of it."""
    known = session.client.get(f"/storages/{into.storage}").get("imported")
    if known is not None and is_server(known):
        return _import_server(session, into, known)
    return _fetch(session, into, {})


def bring(session: Session, into: Into, source: str) -> dict[str, object]:
    """Do it with the content of `source`; the storage's document."""
    if is_server(source):
        return _import_server(session, into, source)
    folder = _folder(session, source)
    if is_data_directory(folder):
        return _fetch(session, into, {"import": str(folder)})
    return _send(session, into, folder)


def check(session: Session, source: str) -> dict[str, str]:
    """What a dry run can know; what its request says of the import."""
    if is_server(source):
        from neon_compose.cli.server import resolve

        return {"import": str(resolve(source))}
    folder = _folder(session, source)
    if is_data_directory(folder):
        return {"import": str(folder)}
    from neon_compose.cli.upload import open_dump

    open_dump(folder)
    return {}


def is_data_directory(path: Path) -> bool:
    """Whether it is a Postgres data directory. One that is another user's can't be looked into: then the
    engine, which can, says what it is."""
    try:
        return path.is_dir() and (path / "PG_VERSION").is_file()
    except PermissionError:
        return True


def _folder(session: Session, source: str) -> Path:
    return Path(normpath(session.outside.folder / Path(source).expanduser()))


def _import_server(session: Session, into: Into, source: str) -> dict[str, object]:
    from neon_compose.cli.server import ask_password, resolve

    server = resolve(source)
    while True:
        secret = {"import_password": server.password} if server.password is not None else {}
        try:
            return _fetch(session, into, {"import": str(server)} | secret)
        except Invalid as error:
            typed = ask_password(str(server)) if error.code == "no_password" else None
            if typed is None:
                raise
            server = replace(server, password=typed)


def _fetch(session: Session, into: Into, source: dict[str, str]) -> dict[str, object]:
    from neon_compose.cli.progress import reporter, result_of

    with reporter() as show:
        return result_of(session.client.stream(into.method, into.path, into.body | source), show)


def _send(session: Session, into: Into, path: Path) -> dict[str, object]:
    from neon_compose.cli.progress import reporter, result_of
    from neon_compose.cli.upload import open_dump
    from neon_compose.wire.ndjson import Step

    dump = open_dump(path)
    with reporter() as show:
        name = f"send {dump.path.name}"
        show.emit(Step(name=name, state="start", total_bytes=dump.total_bytes))

        def told(sent: int) -> None:
            state = "done" if sent == dump.total_bytes else "progress"
            show.emit(Step(name=name, state=state, bytes=sent, total_bytes=dump.total_bytes))  # type: ignore[arg-type]

        events = session.client.stream(
            "PUT",
            f"/storages/{into.storage}/import",
            content=dump.chunks(told),
            format=dump.format,
            **into.upload,
        )
        return result_of(events, show)
