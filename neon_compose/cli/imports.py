"""What `--import` names, and how it gets to the controller: a dump is sent, the rest is fetched over there.

A server's password comes from where libpq looks, else from a prompt once the server has asked for one; it
travels in the request's body.
"""

from __future__ import annotations

from dataclasses import replace
from os.path import normpath
from pathlib import Path
from typing import Any

from neon_compose.cli.session import Session
from neon_compose.errors import Invalid
from neon_compose.model.origin import is_server


def import_into(session: Session, body: dict[str, Any], source: str) -> dict[str, object]:
    """Attach the storage that `body` describes with the content of `source`; the storage's document."""
    if is_server(source):
        return _import_server(session, body, source)
    folder = _folder(session, source)
    if is_data_directory(folder):
        return _fetch(session, body | {"import": str(folder)})
    return _send(session, body, folder)


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


def _import_server(session: Session, body: dict[str, Any], source: str) -> dict[str, object]:
    from neon_compose.cli.server import ask_password, resolve

    server = resolve(source)
    while True:
        secret = {"import_password": server.password} if server.password is not None else {}
        try:
            return _fetch(session, body | {"import": str(server)} | secret)
        except Invalid as error:
            typed = ask_password(str(server)) if error.code == "no_password" else None
            if typed is None:
                raise
            server = replace(server, password=typed)


def _fetch(session: Session, body: dict[str, Any]) -> dict[str, object]:
    from neon_compose.cli.progress import reporter, result_of

    with reporter() as show:
        return result_of(session.client.stream("PUT", "/storages", body), show)


def _send(session: Session, body: dict[str, Any], path: Path) -> dict[str, object]:
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
            f"/storages/{body['name']}/import",
            content=dump.chunks(told),
            format=dump.format,
            type=body["type"],
            path=body.get("path"),
        )
        return result_of(events, show)
