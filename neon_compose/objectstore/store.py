"""The seam to where layers and documents live: small documents by key, large files by key.

A key is a relative path like "refs/branches/main.json": parts of [A-Za-z0-9._-] that don't begin with a
dot, joined by "/". Anything else is a bug of the caller.

Contract, the same for every store (tests/contract/test_objectstore.py runs on all):
- A reader sees a whole document or none: never a torn, partial or empty one.
- When put_new, put_if or put_file return, the object is durable: a power cut after that keeps it.
- A call that was killed has either had its whole effect or none; what it leaves aside has no key, is not
  listed, and is cleaned by the store.
- An etag names a content. Equal contents may share one, so put_if can't tell A-B-A from A; documents here
  are compared by value, so that is harmless.
- Errors: NotFound code "no_object"; Conflict code "exists" (put_new, put_file) and "changed" (put_if);
  Unavailable when the store does not answer or has no space. Nothing is retried inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NewType, Protocol

from neon_compose.errors import Bug, Conflict, NotFound

Etag = NewType("Etag", str)

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ObjectStore(Protocol):
    def get(self, key: str) -> tuple[bytes, Etag]:
        """The document and its etag. Raises NotFound."""

    def put_new(self, key: str, data: bytes) -> Etag:
        """Make the document; of many callers at once one wins. Raises Conflict "exists": then what exists
        is durable. Not idempotent: after a crash the caller reads to see whether it was itself."""

    def put_if(self, key: str, data: bytes, etag: Etag) -> Etag:
        """Replace the document if it is still the one with `etag`. Raises Conflict "changed", also when
        it is gone."""

    def delete(self, key: str) -> None:
        """Make the key not exist; that it does not is success. Unconditional, so only for keys that are
        never used again (ids); names get a tombstone by put_if instead (see refs)."""

    def list(self, prefix: str) -> Iterator[str]:
        """The keys below the folder `prefix` ("refs/branches/"; "" is all), ascending. Keys made or
        deleted while it runs may be in or out."""

    def put_file(self, key: str, path: Path) -> None:
        """Put the file at `path` under `key`, create-only; `path` stays. Raises Conflict "exists"."""

    def local_path(self, key: str) -> Path:
        """Where the object is (or would be) as a file that can be mapped. Raises NotFound for stores
        that have none."""


def check_key(key: str) -> str:
    """`key` if it is one; raises `Bug`: keys are made from ids and checked names, never from raw input."""
    if _KEY.fullmatch(key) is None:
        raise Bug(f"{key!a} is not an object key")
    return key


def no_object(key: str) -> NotFound:
    return NotFound(f'no object "{key}"', code="no_object")


def exists(key: str) -> Conflict:
    return Conflict(f'object "{key}" exists', code="exists")


def changed(key: str) -> Conflict:
    return Conflict(f'object "{key}" was changed by someone else', code="changed")
