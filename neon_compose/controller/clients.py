"""Clients of one kind of server, kept open: one per address."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")


class Clients(Generic[C]):
    """`at(address)` gives the client of the server there; the same one every time."""

    def __init__(self, make: Callable[[str], C]) -> None:
        self._make = make
        self._clients: dict[str, C] = {}
        self._mutex = threading.Lock()

    def at(self, address: str) -> C:
        with self._mutex:
            if address not in self._clients:
                self._clients[address] = self._make(address)
            return self._clients[address]
