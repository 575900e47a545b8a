from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from neon_compose.controller.desired import Desired, Documents, PgDoc, StackDoc, StorageDoc
from neon_compose.controller.secrets import ensure_secrets
from neon_compose.errors import Corrupt

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pg(name: str) -> PgDoc:
    return PgDoc(
        name=name, storage_name="s", branch="main", from_="s@init", port=1, ports="1", created_at=NOW
    )


def test_what_is_put_is_read_by_the_next_controller(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    assert documents.read() == Desired()
    storage, stack = StorageDoc(name="s", created_at=NOW), StackDoc(images={"base": "b:1"})
    for doc in (storage, pg("a"), stack):
        documents.put(doc)
    assert Documents(tmp_path).read() == Desired(stack, {"s": storage}, {"a": pg("a")})
    for doc in (storage, pg("a"), stack, stack):
        documents.remove(doc)
    assert documents.read() == Desired()


def test_a_document_that_was_half_written_is_not_seen_and_swept(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    half = tmp_path / "pgs" / ".a.json.0123456789ab.aside"
    half.write_text("{")
    assert documents.read().pgs == {}
    Documents(tmp_path)
    assert not half.exists()


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 2}', b'{"name": "a", "colour": "red"}'])
def test_a_document_that_is_broken_is_named(tmp_path: Path, content: bytes) -> None:
    documents = Documents(tmp_path)
    (tmp_path / "pgs" / "a.json").write_bytes(content)
    with pytest.raises(Corrupt, match=r"pgs/a\.json"):
        documents.read()


def test_reading_while_others_write_sees_whole_documents(tmp_path: Path) -> None:
    documents, done = Documents(tmp_path), threading.Event()

    def churn() -> None:
        while not done.is_set():
            documents.put(pg("a"))
            documents.remove(pg("a"))

    writer = threading.Thread(target=churn)
    writer.start()
    seen = {len(documents.read().pgs) for _ in range(300)}
    done.set()
    writer.join()
    assert seen <= {0, 1}


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    made = ensure_secrets(tmp_path)
    assert ensure_secrets(tmp_path) == made
    assert len({made.token, made.internal_token, made.minio_root_password, made.minio_password}) == 4
    assert 3 <= len(made.minio_user) <= 20
    assert 8 <= len(made.minio_password) <= 40
    for path in (tmp_path / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert made.token not in repr(made)
