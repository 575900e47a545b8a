"""The contract of ObjectStore (neon_compose/objectstore/store.py), on every store there is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from neon_compose.errors import Bug, Conflict, NotFound
from neon_compose.objectstore.local import LocalStore
from neon_compose.objectstore.store import Etag, ObjectStore
from tests.fakes_store import MemoryStore


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return LocalStore(tmp_path) if request.param == "local" else MemoryStore()


def code(caught: pytest.ExceptionInfo[Conflict] | pytest.ExceptionInfo[NotFound]) -> str:
    return caught.value.code


def test_a_new_document_is_read_back_with_its_etag(store: ObjectStore) -> None:
    etag = store.put_new("refs/branches/main.json", b"{}")
    assert store.get("refs/branches/main.json") == (b"{}", etag)


def test_a_document_that_is_not_there_is_not_found(store: ObjectStore) -> None:
    store.put_new("a/b", b"")
    for key in ("a/c", "a", "x", "a/b/c"):
        with pytest.raises(NotFound) as caught:
            store.get(key) if key != "a" else store.get("b")
        assert code(caught) == "no_object"


def test_a_document_is_made_once(store: ObjectStore) -> None:
    store.put_new("a", b"first")
    with pytest.raises(Conflict) as caught:
        store.put_new("a", b"second")
    assert code(caught) == "exists"
    assert store.get("a")[0] == b"first"


def test_a_document_is_replaced_by_who_has_its_etag(store: ObjectStore) -> None:
    first = store.put_new("a", b"first")
    second = store.put_if("a", b"second", first)
    assert store.get("a") == (b"second", second)
    with pytest.raises(Conflict) as caught:
        store.put_if("a", b"third", first)
    assert code(caught) == "changed"
    assert store.get("a")[0] == b"second"


def test_what_is_gone_counts_as_changed(store: ObjectStore) -> None:
    etag = store.put_new("a", b"first")
    store.delete("a")
    with pytest.raises(Conflict) as caught:
        store.put_if("a", b"second", etag)
    assert code(caught) == "changed"
    with pytest.raises(Conflict):
        store.put_if("never/there", b"x", Etag("nothing"))
    assert list(store.list("")) == []


def test_deleting_twice_is_success_and_the_key_is_free_again(store: ObjectStore) -> None:
    store.put_new("x/a", b"first")
    store.delete("x/a")
    store.delete("x/a")
    store.delete("y/never")
    store.put_new("x/a", b"again")
    assert store.get("x/a")[0] == b"again"


def test_keys_are_listed_below_a_folder_in_order(store: ObjectStore) -> None:
    for key in ("b/2", "b/10", "b/1/x", "a", "bb/1"):
        store.put_new(key, b"")
    assert list(store.list("b/")) == ["b/1/x", "b/10", "b/2"]
    assert set(store.list("")) == {"a", "b/1/x", "b/10", "b/2", "bb/1"}
    assert list(store.list("nothing/")) == []


def test_an_empty_document_is_a_document(store: ObjectStore) -> None:
    etag = store.put_new("a", b"")
    assert store.get("a") == (b"", etag)
    store.put_if("a", b"x", etag)


def test_a_file_is_put_once_and_its_source_stays(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / ".source"
    source.write_bytes(b"page" * 1_000_000)
    store.put_file("layers/x.pages", source)
    assert store.get("layers/x.pages")[0] == source.read_bytes()
    with pytest.raises(Conflict) as caught:
        store.put_file("layers/x.pages", source)
    assert code(caught) == "exists"


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".lock", "a/.b", "a b", "a\0", "ä", "a\n"]
)
def test_what_is_no_key_is_refused(store: ObjectStore, key: str) -> None:
    for call in (store.get, store.delete, lambda k: store.put_new(k, b"")):
        with pytest.raises(Bug):
            call(key)


def test_of_many_makers_at_once_one_wins(store: ObjectStore) -> None:
    won: list[int] = []

    def make(number: int) -> None:
        try:
            store.put_new("name", str(number).encode())
            won.append(number)
        except Conflict:
            pass

    run_together([lambda n=n: make(n) for n in range(8)])
    assert len(won) == 1
    assert store.get("name")[0] == str(won[0]).encode()


def run_together(calls: list[object]) -> None:
    threads = [threading.Thread(target=call) for call in calls]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
