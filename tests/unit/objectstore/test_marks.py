"""Protected branches, and those that expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from neon_compose.errors import Conflict, NotFound
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.objectstore.documents import Point
from tests.fakes_store import MemoryStore
from tests.unit.objectstore.samples import LAYERS, NEWER, main_point, make_storage, refresh_main

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    make_storage(made)
    manifests.create_branch(made, "shop", main_point(made), LAYERS)
    return made


def refused(work: Callable[[], object]) -> None:
    with pytest.raises(Conflict) as caught:
        work()
    assert caught.value.code == "branch_protected"
    assert "unprotect" in caught.value.hint


def restore(store: MemoryStore) -> object:
    old = manifests.read_branch(store, "shop")
    point = Point(old.branch_id, Lsn(0x1800))
    return manifests.restore_branch(store, "shop", point, (NEWER,), None, "kept", lambda _: None)


def test_a_protected_branch_is_neither_deleted_nor_restored(store: MemoryStore) -> None:
    made = manifests.protect_branch(store, "shop")
    assert made.protected
    assert manifests.protect_branch(store, "shop") == made
    refused(lambda: manifests.delete_branch(store, "shop"))
    refused(lambda: restore(store))
    assert manifests.read_branch(store, "shop") == made
    assert not manifests.unprotect_branch(store, "shop").protected
    restore(store)
    manifests.delete_branch(store, "shop")


def test_a_protected_main_is_not_refreshed(store: MemoryStore) -> None:
    before = manifests.protect_branch(store, "main")
    refused(lambda: refresh_main(store))
    assert manifests.read_branch(store, "main") == before
    manifests.unprotect_branch(store, "main")
    refresh_main(store)
    assert not manifests.read_branch(store, "main").protected


def test_main_never_expires(store: MemoryStore) -> None:
    with pytest.raises(Conflict) as caught:
        manifests.expire_branch(store, "main", AT)
    assert caught.value.code == "main_branch"
    assert manifests.expire_branch(store, "main", None).expires is None


def test_a_restored_branch_expires_when_it_would_have_and_so_does_what_it_was(store: MemoryStore) -> None:
    assert manifests.expire_branch(store, "shop", AT).expires == AT
    restore(store)
    assert manifests.read_branch(store, "shop").expires == AT
    assert manifests.read_branch(store, "kept").expires == AT
    assert manifests.expire_branch(store, "kept", None).expires is None
    assert manifests.read_branch(store, "shop").expires == AT


def test_a_branch_that_is_gone_is_not_marked(store: MemoryStore) -> None:
    manifests.delete_branch(store, "shop")
    for mark in (manifests.protect_branch, manifests.unprotect_branch):
        with pytest.raises(NotFound):
            mark(store, "shop")
