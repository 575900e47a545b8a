"""Object stores for tests: one in memory, and one that dies at a chosen call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from neon_compose.errors import NotFound
from neon_compose.objectstore.store import Etag, ObjectStore, changed, check_key, exists, no_object

T = TypeVar("T")


class MemoryStore:
    """The contract of ObjectStore in a dict."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get(self, key: str) -> tuple[bytes, Etag]:
        if check_key(key) not in self.objects:
            raise no_object(key)
        return self.objects[key], _etag(self.objects[key])

    def put_new(self, key: str, data: bytes) -> Etag:
        if check_key(key) in self.objects:
            raise exists(key)
        self.objects[key] = data
        return _etag(data)

    def put_if(self, key: str, data: bytes, etag: Etag) -> Etag:
        if check_key(key) not in self.objects or _etag(self.objects[key]) != etag:
            raise changed(key)
        self.objects[key] = data
        return _etag(data)

    def delete(self, key: str) -> None:
        self.objects.pop(check_key(key), None)

    def list(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.objects if key.startswith(prefix))

    def put_file(self, key: str, path: Path) -> None:
        self.put_new(key, path.read_bytes())

    def local_path(self, key: str) -> Path:
        raise NotFound(f'object "{key}" has no file')


class Killed(BaseException):
    """kill -9: no `except` of the code under test may see it as an error."""


class DyingStore:
    """Passes calls on to `inner` and dies at the call number `at`, before or after its effect."""

    def __init__(self, inner: ObjectStore, at: int, *, after: bool) -> None:
        self.inner, self.at, self.after, self.calls = inner, at, after, 0

    def get(self, key: str) -> tuple[bytes, Etag]:
        return self._call(lambda: self.inner.get(key))

    def put_new(self, key: str, data: bytes) -> Etag:
        return self._call(lambda: self.inner.put_new(key, data))

    def put_if(self, key: str, data: bytes, etag: Etag) -> Etag:
        return self._call(lambda: self.inner.put_if(key, data, etag))

    def delete(self, key: str) -> None:
        self._call(lambda: self.inner.delete(key))

    def list(self, prefix: str) -> Iterator[str]:
        return self._call(lambda: self.inner.list(prefix))

    def put_file(self, key: str, path: Path) -> None:
        self._call(lambda: self.inner.put_file(key, path))

    def local_path(self, key: str) -> Path:
        return self.inner.local_path(key)

    def _call(self, call: Callable[[], T]) -> T:
        self.calls += 1
        if self.calls == self.at and not self.after:
            raise Killed
        try:
            return call()
        finally:
            if self.calls == self.at:
                raise Killed


class WatchedStore(DyingStore):
    """Calls `between(number)` before every call: where another process gets its turn."""

    def __init__(self, inner: ObjectStore, between: Callable[[int], None]) -> None:
        super().__init__(inner, 0, after=False)
        self._between = between

    def _call(self, call: Callable[[], T]) -> T:
        self.calls += 1
        self._between(self.calls)
        return call()


def _etag(data: bytes) -> Etag:
    return Etag(hashlib.sha256(data).hexdigest())
