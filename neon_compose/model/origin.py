"""What `import` may name: a file or folder, or a running Postgres server as libpq would be told of it.

Owns the split of a server's address from its password: `str(Server)` is safe to store, show and log.
Does not connect, and reads no file of the user's (services, password files: cli.server does).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from neon_compose.errors import Invalid

_URL = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_WORD = re.compile(r"\s*([a-z_]+)\s*=")
_FIRST_WORDS = {"host", "hostaddr", "port", "dbname", "user", "password", "service", "sslmode", "options"}

KEPT = {
    *("host", "hostaddr", "port", "user", "dbname", "sslmode", "options", "connect_timeout"),
    *("target_session_attrs", "channel_binding", "require_auth"),
}
_FILES = {
    "sslcert": "a client certificate",
    "sslkey": "a client key",
    "sslcrl": "a revocation list",
    "sslcrldir": "revocation lists",
    "passfile": "a password file",
    "service": "a service",
    "servicefile": "a service file",
}
_SECRET = re.compile(r"//[^:@]*:(.*)@|password\s*=\s*([^&]*)", re.IGNORECASE)
_MAX = 2048


def is_server(text: str) -> bool:
    """Whether `text` is a connection URL or a keyword/value string, rather than a path."""
    word = _WORD.match(text)
    return _URL.match(text) is not None or (word is not None and word[1] in _FIRST_WORDS)


@dataclass(frozen=True)
class Server:
    """Where a server is; `options` are libpq's, without the password."""

    options: Mapping[str, str]
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Server:
        """The server that `text` names. Raises `Invalid` for what libpq can't read, and for what needs
        files of the user's machine."""
        if len(text) > _MAX:
            raise _bad(f"It is longer than {_MAX} characters.")
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict  # 50 ms: only for those who import from a server

        try:
            found = {key: str(value) for key, value in conninfo_to_dict(text).items() if value is not None}
        except ProgrammingError as error:
            raise _bad(_without(str(error).strip(), text)) from error
        password = found.pop("password", None)
        if found.get("sslrootcert") == "system":
            found.pop("sslrootcert")
            found["sslmode"] = "verify-full"
        for key, what in {**_FILES, "sslrootcert": "a root certificate"}.items():
            if key in found:
                raise _bad(f"{key} names {what} on your machine, which the import can't read.")
        if unknown := sorted(found.keys() - KEPT):
            raise _bad(f"Option {unknown[0]} can't be used for an import.")
        return cls(found, password)

    @property
    def host(self) -> str:
        return self.options.get("host") or self.options.get("hostaddr") or ""

    @property
    def socket_folder(self) -> str | None:
        """The folder of its Unix socket; None for TCP."""
        return self.host if self.host.startswith("/") else None

    def __str__(self) -> str:
        """A URL without the password; `parse` of it is equal."""
        left = dict(self.options)
        user, port, database = (left.pop(key, "") for key in ("user", "port", "dbname"))
        host = "" if self.socket_folder or "," in self.host else left.pop("host", "")
        address = f"[{host}]" if ":" in host else host
        at = (f"{quote(user, safe='')}@" if user else "") + address + (f":{port}" if port else "")
        query = f"?{urlencode(left)}" if left else ""
        return f"postgres://{at}/{quote(database, safe='')}{query}"


def _without(said: str, text: str) -> str:
    """libpq's complaint, unless it repeats a part of what may be a password: text that can't be parsed
    doesn't say where that ends."""
    secrets = [one for match in _SECRET.findall(text) for one in match if one]
    pieces = [piece for secret in secrets for piece in re.split(r"[^\w]+", secret) if len(piece) > 2]
    return "" if any(piece in said for piece in pieces) else said[:200]


def _bad(detail: str) -> Invalid:
    return Invalid(
        "the import's server address is not valid",
        detail=detail,
        hint='Examples: postgres://user@host:5432/database, "host=… dbname=… user=…".',
        code="bad_server",
    )
