from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neon_compose.errors import Conflict, Corrupt
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore.codec import decode, encode
from neon_compose.objectstore.documents import (
    BranchRef,
    Initial,
    Lease,
    Manifest,
    Pin,
    PinKind,
    Point,
    SnapshotRef,
    StorageDoc,
    WalRange,
    Writer,
)

ids, texts = st.uuids(), st.text(max_size=12)
lsns = st.builds(Lsn, st.integers(0, (1 << 64) - 1))
times = st.datetimes(timezones=st.just(UTC))
maybe_time = st.none() | times
points = st.builds(Point, ids, lsns)


def some(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=3).map(tuple)


manifests = st.builds(
    Manifest,
    branch_id=ids,
    name=texts,
    parent=st.none() | points,
    layers=some(ids),
    created=times,
    wal=some(st.builds(WalRange, st.integers(0, 9), lsns, lsns)),
    term=st.integers(0, 1 << 40),
    writer=st.none() | st.builds(Writer, texts, texts),
    pins=some(st.builds(Pin, st.sampled_from(PinKind), ids, lsns)),
    leases=some(st.builds(Lease, ids, texts, times)),
    deleted=maybe_time,
)
storages = st.builds(
    StorageDoc,
    storage_id=ids,
    postgres_major=st.just(17),
    system_identifier=st.integers(0, (1 << 64) - 1),
    default_database=texts,
    admin_password=texts,
    created=times,
    packages=some(texts),
    initial=st.none() | st.builds(Initial, ids, texts, ids, lsns),
)
documents = (
    manifests
    | storages
    | st.builds(BranchRef, ids, st.none() | points, maybe_time)
    | st.builds(SnapshotRef, ids, lsns, times, ids, maybe_time)
)

REF = BranchRef(UUID(int=1), Point(UUID(int=2), Lsn(3)))


@given(documents)
def test_a_document_is_read_back_to_equality(document: Any) -> None:
    assert decode(type(document), encode(document), "key") == document


def test_a_document_looks_as_documented() -> None:
    assert encode(REF).decode() == (
        "{\n"
        '  "asked": null,\n'
        '  "branch_id": "00000000-0000-0000-0000-000000000001",\n'
        '  "checksum": "e177a1db",\n'
        '  "deleted": null,\n'
        '  "format": 1,\n'
        '  "parent": {\n'
        '    "branch_id": "00000000-0000-0000-0000-000000000002",\n'
        '    "lsn": "0/3"\n'
        "  },\n"
        '  "token": null\n'
        "}\n"
    )


def test_a_time_is_written_in_utc() -> None:
    east = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    snapshot = SnapshotRef(UUID(int=1), Lsn(1), east, UUID(int=2))
    assert json.loads(encode(snapshot))["time"] == "2026-01-02T01:04:05.000000Z"


def test_the_password_is_not_in_a_storages_repr() -> None:
    doc = StorageDoc(UUID(int=1), 17, 1, "postgres", "s3cret", datetime.now(UTC))
    assert "s3cret" not in repr(doc)


def test_a_newer_format_is_refused_as_such_whatever_its_fields() -> None:
    with pytest.raises(Conflict) as caught:
        decode(BranchRef, b'{"format": 2, "new": 1}', "refs/branches/main.json")
    assert caught.value.code == "newer_format"
    assert "refs/branches/main.json" in caught.value.message


@given(documents, st.integers(0, 1 << 16), st.integers(0, 7))
def test_any_flipped_bit_is_refused(document: Any, at: int, bit: int) -> None:
    raw = bytearray(encode(document))
    raw[at % len(raw)] ^= 1 << bit
    with pytest.raises((Corrupt, Conflict)):
        decode(type(document), bytes(raw), "key")


def test_a_document_from_before_there_were_checksums_is_read() -> None:
    assert decode(BranchRef, changed(), "refs/branches/main.json") == REF


def changed(**fields: object) -> bytes:
    """Without a checksum, which would refuse all of these."""
    plain = {**json.loads(encode(REF)), **fields}
    del plain["checksum"]
    return json.dumps(plain).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b'{"format": 1}',
        b'{"format": true}',
        changed(format="1"),
        changed(more=1),
        changed(branch_id="x"),
        changed(branch_id=None),
        changed(branch_id=1),
        changed(parent=[]),
        changed(parent={"branch_id": str(UUID(int=1))}),
        changed(parent={"branch_id": str(UUID(int=1)), "lsn": "nonsense"}),
        changed(deleted="2026-01-01T00:00:00"),
        changed(deleted="yesterday"),
    ],
)
def test_a_damaged_document_is_corrupt_and_named(raw: bytes) -> None:
    with pytest.raises(Corrupt) as caught:
        decode(BranchRef, raw, "refs/branches/main.json")
    assert "refs/branches/main.json" in caught.value.message
    assert caught.value.detail
