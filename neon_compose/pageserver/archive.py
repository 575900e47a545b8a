"""The WAL archive of a storage: a branch's committed WAL, kept apart from the safekeepers it came from.

    wal/<branch-id>/<term>/<segment>.zst         a whole segment
    wal/<branch-id>/<term>/<segment>.<end>.zst   a segment up to `end` (16 hex digits), the end of a record

Objects are create-only, zstd frames with a checksum. <term> is the one that wrote the last byte: should a
term that is not part of the branch's history ever leave an object, it doesn't pass for the branch's WAL.

Invariant: what is put is committed and was walked, and is put in order. So the newest object says up to
where the archive goes. An object that was removed (collecting) or lost since is missed when it is read.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import zstandard

from neon_compose.errors import Conflict, Corrupt, NotFound, Unavailable
from neon_compose.model.ids import new_id
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.store import ObjectStore
from neon_compose.postgres.walfolder import WalFolder
from neon_compose.terms.history import History

_LEVEL = 1  # it runs beside clients: a third of the time of level 3, for a tenth more bytes
_KEY = re.compile(r"wal/[0-9a-f-]{36}/(\d+)/[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})(?:\.([0-9A-F]{16}))?\.zst")
FOLDER = "wal/"


@dataclass(frozen=True)
class Piece:
    """An object: the WAL [`begin`, `end`) of one segment."""

    key: str
    term: int
    begin: Lsn
    end: Lsn


class Archive:
    """`aside` is a folder for what is being compressed, emptied when the pageserver starts."""

    def __init__(self, store: ObjectStore, aside: Path) -> None:
        self._store = store
        self._aside = aside
        self._mutex = threading.Lock()
        self._known: dict[UUID, list[Piece]] = {}  # listed once: only this pageserver adds to a branch

    def upto(self, manifest: Manifest, segment_size: int) -> Lsn | None:
        """Up to where the branch's WAL is archived; None if nothing of it is."""
        return max((one.end for one in self._pieces(manifest, segment_size)), default=None)

    def put(self, manifest: Manifest, wal: WalFolder, number: int, end: Lsn) -> None:
        """Keep the segment up to `end`, durably; what was kept of it so far goes. Repeat is success.

        All before the segment is archived, or older than the branch.
        """
        begin, size = wal.begin(number), wal.segment_size
        whole = end == wal.begin(number + 1)
        term = writer_of(_history(manifest), end)
        name = wal.name(number) if whole else f"{wal.name(number)}.{end.value:016X}"
        key = f"{FOLDER}{manifest.branch_id}/{term}/{name}.zst"
        packed = self._aside / str(new_id())
        try:
            with wal.open(number) as file:
                data = file.read(end.value - begin.value)
            if len(data) != end.value - begin.value:
                raise Corrupt(f'WAL segment "{wal.name(number)}" ends before {end}', code="wal_damaged")
            packed.write_bytes(zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data))
            with _may_exist():
                self._store.put_file(key, packed)
        finally:
            packed.unlink(missing_ok=True)
        before = self._pieces(manifest, size)
        self._changed(manifest.branch_id, add=Piece(key, term, begin, end))
        for one in before:
            if one.begin == begin and one.end < end:
                self.remove(manifest.branch_id, one)

    def read(self, manifest: Manifest, segment_size: int, start: Lsn, end: Lsn) -> Iterator[bytes]:
        """The bytes [start, end). Raises `Unavailable` for what isn't there, `Corrupt` for damage."""
        pieces = self._pieces(manifest, segment_size)
        while start < end:
            begin = Lsn(start.value - start.value % segment_size)
            stop = min(end, Lsn(begin.value + segment_size))
            piece = next((one for one in pieces if one.begin == begin and one.end >= stop), None)
            if piece is None:
                raise Unavailable(
                    f'the archive has no WAL of branch "{manifest.name}" from {start} to {stop}',
                    code="wal_unavailable",
                )
            yield self._unpacked(manifest.branch_id, piece)[
                start.value - begin.value : stop.value - begin.value
            ]
            start = stop

    def pieces(self, manifest: Manifest, segment_size: int) -> list[Piece]:
        """All there are of its history, the oldest first."""
        return sorted(self._pieces(manifest, segment_size), key=lambda one: one.end)

    def remove(self, branch_id: UUID, piece: Piece) -> None:
        self._store.delete(piece.key)
        self._changed(branch_id, remove=piece)

    def branches(self) -> set[UUID]:
        """Those that have anything here, whether they still are or not."""
        return {UUID(key.split("/")[1]) for key in self._store.list(FOLDER)}

    def drop(self, branch_id: UUID) -> None:
        """All of a branch that is gone."""
        for key in list(self._store.list(f"{FOLDER}{branch_id}/")):
            self._store.delete(key)
        with self._mutex:
            self._known.pop(branch_id, None)

    def _pieces(self, manifest: Manifest, segment_size: int) -> list[Piece]:
        with self._mutex:
            known = self._known.get(manifest.branch_id)
            if known is None:
                listed = self._store.list(f"{FOLDER}{manifest.branch_id}/")
                known = [one for key in listed if (one := _parsed(key, segment_size))]
                self._known[manifest.branch_id] = known
            history = _history(manifest)
            return [one for one in known if one.term == writer_of(history, one.end)]

    def _changed(self, branch_id: UUID, *, add: Piece | None = None, remove: Piece | None = None) -> None:
        with self._mutex:
            known = self._known.get(branch_id, [])
            kept = [one for one in known if one not in (add, remove)]
            self._known[branch_id] = [*kept, add] if add else kept

    def _unpacked(self, branch_id: UUID, piece: Piece) -> bytes:
        size = piece.end.value - piece.begin.value
        try:
            raw, _ = self._store.get(piece.key)
            data = zstandard.ZstdDecompressor().decompress(raw, max_output_size=size)
        except NotFound as error:
            with self._mutex:
                self._known.pop(branch_id, None)
            raise Unavailable(f'"{piece.key}" is gone', code="wal_unavailable") from error
        except zstandard.ZstdError as error:
            raise _damaged(piece, f"{error}.") from error
        if len(data) != size:
            raise _damaged(piece, f"It has {len(data)} bytes of WAL, not {size}.")
        return data


def writer_of(history: History, end: Lsn) -> int:
    """The term that wrote the byte before `end`, 0 for what is older than the branch."""
    return max((one.term for one in history.starts if one.start < end), default=0)


@contextmanager
def _may_exist() -> Iterator[None]:
    """One that was cut off after it had put the object is repeated."""
    try:
        yield
    except Conflict as conflict:
        if conflict.code != "exists":
            raise


def _history(manifest: Manifest) -> History:
    return manifest.register.decided.history if manifest.register else History()


def _parsed(key: str, segment_size: int) -> Piece | None:
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    term, high, low, end = match.groups()
    begin = Lsn((int(high, 16) * ((1 << 32) // segment_size) + int(low, 16)) * segment_size)
    return Piece(key, int(term), begin, Lsn(int(end, 16)) if end else Lsn(begin.value + segment_size))


def _damaged(piece: Piece, detail: str) -> Corrupt:
    return Corrupt(
        f'WAL segment "{piece.key}" of the archive is damaged',
        detail=detail,
        hint="Another copy of this segment, on a safekeeper, may be whole.",
        code="wal_damaged",
    )
