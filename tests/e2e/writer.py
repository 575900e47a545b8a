"""A client that writes without end: one row a commit, noting which commits were acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from neon_compose.wait import Deadline, until


class Writer:
    """Rows 1, 2, 3, … of a table of its own, in a thread; connects again after an error until stopped."""

    def __init__(self, url: str, table: str = "written") -> None:
        self.acknowledged: list[int] = []
        self.errors: list[str] = []
        self._url, self._table = url, table
        self._stopping = threading.Event()
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(f"create table {table} (n int primary key)".encode())
        self._thread = threading.Thread(target=self._work, name=f"writer of {table}", daemon=True)
        self._thread.start()

    def wait_for_more(self, rows: int = 20) -> None:
        """Return when that many more commits were acknowledged."""
        goal = len(self.acknowledged) + rows
        until(
            f"{rows} more acknowledged rows",
            lambda: len(self.acknowledged) >= goal,
            Deadline.after(60),
            last_words=lambda: "\n".join(self.errors[-3:]),
        )

    def stop(self) -> None:
        """Returns when nothing is written any more; a commit that hangs is left to its own."""
        self._stopping.set()
        self._thread.join(timeout=5)

    def lost(self, rows: Callable[[str], list[tuple[int]]]) -> set[int]:
        """Acknowledged rows that `rows`, which runs a query, doesn't find."""
        acknowledged = set(self.acknowledged)  # before the query: more may come meanwhile
        assert acknowledged, self.errors
        found = rows(f"select n from {self._table}")
        return acknowledged - {n for (n,) in found}

    def _work(self) -> None:
        n = 0
        while not self._stopping.wait(0.02 if self.errors else 0):
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=3) as session:
                    while not self._stopping.is_set():
                        n += 1  # one whose commit failed may be there: it is never tried again
                        session.execute(f"insert into {self._table} values ({n})".encode())
                        self.acknowledged.append(n)
            except psycopg.Error as error:
                self.errors.append(str(error))
