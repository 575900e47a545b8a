"""A server as the user's libpq knows it: environment, service file, password file and defaults filled in.

libpq itself resolves them: a connection is begun and dropped before anything is said over it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from neon_compose.errors import Invalid
from neon_compose.model.origin import KEPT, Server, is_server

if TYPE_CHECKING:
    from neon_compose.model.stackfile import StackFile

Ask = Callable[[str], str | None]


def resolve(text: str) -> Server:
    """The server `text` names, with everything that only this machine knows. Raises `Invalid`."""
    from psycopg.pq import PGconn

    begun = PGconn.connect_start(text.encode())
    try:
        found = {
            option.keyword.decode(): option.val.decode()
            for option in begun.info
            if option.val and (option.val != option.compiled or option.keyword == b"port")
        }
        if "dbname" not in found:  # refused before there was an address: a missing service, say
            raise Invalid(
                "the import's server address is not valid",
                detail=begun.error_message.decode(errors="replace").strip(),
                code="bad_server",
            )
        host = found.get("host") or begun.host.decode()
        password = begun.password.decode() or None
    finally:
        begun.finish()
    # Only what is not about files here; the others are refused by name.
    plain = Server.parse(text) if "service" not in found else Server({})
    options = {key: value for key, value in found.items() if key in KEPT} | {"host": host}
    return replace(plain, options={**options, **plain.options}, password=password)


def with_servers(stack: StackFile) -> tuple[StackFile, dict[str, str]]:
    """The stack file with complete addresses of servers to import from, and their passwords apart."""
    storages, passwords = dict(stack.storages), {}
    for name, storage in stack.storages.items():
        if storage.import_ is not None and is_server(storage.import_):
            server = resolve(storage.import_)
            storages[name] = storage.model_copy(update={"import_": str(server)})
            if server.password is not None:
                passwords[name] = server.password
    return stack.model_copy(update={"storages": storages}), passwords


def ask_password(shown: str) -> str | None:
    """A password typed on the terminal; None without one."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    from getpass import getpass

    return getpass(f"Password for {shown}: ")
