"""Reading and changing one typed document of a store by compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from neon_compose.errors import Conflict, NotFound, Unavailable
from neon_compose.objectstore.codec import decode, encode
from neon_compose.objectstore.store import Etag, ObjectStore

D = TypeVar("D")

TRIES = 100  # each failed try means that somebody else's succeeded


def read(store: ObjectStore, key: str, cls: type[D]) -> tuple[D, Etag]:
    """The document and its etag. Raises NotFound, Corrupt, Conflict "newer_format"."""
    raw, etag = store.get(key)
    return decode(cls, raw, key), etag


def find(store: ObjectStore, key: str, cls: type[D]) -> D | None:
    """The document, or None if there is none."""
    try:
        return read(store, key, cls)[0]
    except NotFound:
        return None


def update(store: ObjectStore, key: str, cls: type[D], change: Callable[[D], D]) -> D:
    """Replace the document by `change` of it and return what is stored now; no write if nothing changes.

    `change` may run several times, each time on the newest document, and may raise to give up. Raises
    `Unavailable` code "contended" after TRIES lost races.
    """
    for _ in range(TRIES):
        before, etag = read(store, key, cls)
        after = change(before)
        if after == before:
            return before
        try:
            store.put_if(key, encode(after), etag)
        except Conflict as conflict:
            if conflict.code != "changed":
                raise
        else:
            return after
    raise Unavailable(
        f'document "{key}" is changed too often', detail=f"{TRIES} tries to change it lost.", code="contended"
    )


def claim(store: ObjectStore, key: str, wanted: D, free: Callable[[D], bool]) -> tuple[D, bool]:
    """Put `wanted` under `key` if nothing is there, or something that `free` gives away (a tombstone).

    Returns (what is there now, whether that is `wanted`). Of many at once exactly one gets the key.
    """
    data = encode(wanted)
    for _ in range(TRIES):
        if _put_new(store, key, data):
            return wanted, True
        found, etag = read(store, key, type(wanted))
        if not free(found):
            return found, False
        try:
            store.put_if(key, data, etag)
        except Conflict as conflict:
            if conflict.code != "changed":
                raise
        else:
            return wanted, True
    raise Unavailable(f'name "{key}" is claimed and freed too often', code="contended")


def put_once(store: ObjectStore, key: str, document: object) -> bool:
    """Make the document; False if there is one already."""
    return _put_new(store, key, encode(document))


def _put_new(store: ObjectStore, key: str, data: bytes) -> bool:
    try:
        store.put_new(key, data)
    except Conflict as conflict:
        if conflict.code != "exists":
            raise
        return False
    return True
