"""Which storage is meant: by a source, and by `[STORAGE/]NAME` of a branch or snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from neon_compose.cli.args import one_name
from neon_compose.cli.session import Session
from neon_compose.errors import Conflict, Invalid, NotFound
from neon_compose.model.names import parse_name
from neon_compose.model.nearest import did_you_mean
from neon_compose.model.source import Source, parse_source

Document = dict[str, Any]

StorageOption = Annotated[
    str | None,
    typer.Option(
        "-s",
        "--s",
        "--storage",
        metavar="STORAGE",
        help="Default: the one it is found in.",
        show_default=False,
    ),
]
SourceArgument = Annotated[str, typer.Argument(metavar="[STORAGE/]NAME[@MOMENT]", show_default=False)]
PlaceArgument = Annotated[str | None, typer.Argument(metavar="[STORAGE/]NAME", show_default=False)]


def storage_of(session: Session, source: Source) -> str:
    """The storage a source is in, in the order of DESIGN 2: its own word, a pg, a storage, a branch."""
    if source.storage is not None:
        return source.storage
    pg = session.client.find(f"/pgs/{source.name}")
    if pg is not None:
        return str(pg["storage_name"])
    if session.client.find(f"/storages/{source.name}") is not None:
        return source.name
    return _storage_of_branch(session, source.name)


def find_branch(
    session: Session, name: str | None, option_name: str | None, storage: str | None
) -> tuple[str, str]:
    """(storage, branch)."""
    return _find(name, option_name, storage, "branch", "branch", lambda: all_branches(session))


def find_deleted(session: Session, name: str | None, storage: str | None) -> tuple[str, str]:
    """(storage, branch), of those that can be taken back."""
    return _find(name, None, storage, "branch", "deleted branch", lambda: all_deleted(session))


def branch_of(session: Session, name: str | None, storage: str | None) -> tuple[str, str]:
    """(storage, branch) of a source's name: a pg's branch, else a storage's `main`, else a branch."""
    if name is None:
        raise Invalid("no name of a branch", hint="Give it as [STORAGE/]NAME.", code="no_name")
    source = parse_source(name)
    if source.moment is not None:
        raise Invalid(f"{name[:60]!a} is a moment of a branch", hint="Give its name.", code="bad_source")
    if source.storage is not None or storage is not None:
        return find_branch(session, name, None, storage)
    pg = session.client.find(f"/pgs/{source.name}")
    if pg is not None:
        return str(pg["storage_name"]), str(pg["branch"])
    if session.client.find(f"/storages/{source.name}") is not None:
        return source.name, "main"
    return _storage_of_branch(session, source.name), source.name


def find_snapshot(
    session: Session, name: str | None, option_name: str | None, storage: str | None
) -> tuple[str, str]:
    """(storage, snapshot)."""
    return _find(name, option_name, storage, "snapshot", "snapshot", lambda: session.client.get("/snapshots"))


def all_branches(session: Session) -> list[Document]:
    """The branches of all storages that answer."""
    return _of_all(session, "branches")


def all_deleted(session: Session) -> list[Document]:
    """Those of all storages that can be taken back."""
    return _of_all(session, "deleted-branches")


def _of_all(session: Session, what: str) -> list[Document]:
    return [
        one
        for storage in session.client.get("/storages")
        if storage["state"] == "running"
        for one in session.client.get(f"/storages/{storage['name']}/{what}")
    ]


def _find(
    name: str | None,
    option_name: str | None,
    storage: str | None,
    what: str,
    kind: str,
    known: Callable[[], Sequence[Document]],
) -> tuple[str, str]:
    given = name if name is not None else option_name
    if given is not None and "/" in given:
        home, _, plain = given.partition("/")
        if storage is not None and storage != home:
            raise Invalid(
                f"two storages for one {what}: {home[:60]!a} and {storage[:60]!a}", code="two_names"
            )
        if name is not None and option_name is not None and name != option_name:
            one_name(name, option_name, what)
        return parse_name(home, "storage"), parse_name(plain, what)
    plain = one_name(name, option_name, what)
    if storage is not None:
        return parse_name(storage, "storage"), plain
    there = known()
    if (found := _only(plain, there, what)) is None:
        raise _unknown(kind, plain, there, what)
    return found, plain


def _storage_of_branch(session: Session, name: str) -> str:
    """Of a bare name that is no pg and no storage."""
    branches = all_branches(session)
    if (found := _only(name, branches, "branch")) is not None:
        return found
    others = [*session.client.get("/pgs"), *session.client.get("/storages")]
    raise _unknown("pg, storage or branch", name, [*branches, *others], "branch")


def _unknown(kind: str, name: str, known: Sequence[Document], what: str) -> NotFound:
    names = {str(one["name"]) for one in known}
    return NotFound(f'no {kind} "{name}"', hint=did_you_mean(name, names), code=f"no_{what}")


def _only(name: str, known: Sequence[Document], what: str) -> str | None:
    """The storage of the one with this name, if there is one. Raises `Conflict` with the full forms."""
    found = [one for one in known if one["name"] == name]
    if not found:
        return None
    if len(found) > 1:
        full = ", ".join(f"{one['storage_name']}/{one['name']}" for one in found)
        raise Conflict(
            f'"{name}" is a {what} of more than one storage',
            hint=f"Name one in full: {full}.",
            code="ambiguous",
        )
    return str(found[0]["storage_name"])
