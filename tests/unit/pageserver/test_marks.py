"""Marks of branches over HTTP, and the restores they keep off."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from neon_compose.disks import Disks
from neon_compose.errors import Conflict, NotFound
from neon_compose.pageserver.app import make_app
from neon_compose.wire.pageserver import Mark, MarkRequest, RestoreRequest
from neon_compose.wire.pageserver_client import PageserverClient
from tests.serving import Switch
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_app import TOKEN, service_of

AT = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def refused(work: Callable[[], object]) -> None:
    with pytest.raises(Conflict) as caught:
        work()
    assert caught.value.code == "branch_protected"


def test_a_branch_shows_its_marks(server: tuple[Switch, str], world: World) -> None:
    switch, address = server
    switch.app = make_app(service_of(world), TOKEN, Disks(()))
    client = PageserverClient(address, TOKEN)
    world.branches.create("shop", "main", None)
    client.mark_branch("shop", Mark.PROTECT)
    made = client.mark_branch("shop", Mark.EXPIRE, AT)
    assert (made.protected, made.expires) == (True, AT)
    shown = {one.name: (one.protected, one.expires) for one in client.branches()}
    assert shown == {"main": (False, None), "shop": (True, AT)}
    made = client.mark_branch("shop", Mark.UNPROTECT)
    assert (made.protected, made.expires) == (False, AT)
    assert client.mark_branch("shop", Mark.EXPIRE).expires is None
    with pytest.raises(NotFound):
        client.mark_branch("none", Mark.PROTECT)
    client.close()


def test_a_protected_branch_is_neither_checked_nor_restored_nor_deleted(world: World) -> None:
    service = service_of(world)
    world.branches.create("shop", "main", None)
    service.mark_branch("shop", MarkRequest(mark=Mark.PROTECT))
    refused(lambda: service.restore_branch("shop", RestoreRequest(check=True)))
    refused(lambda: service.restore_branch("shop", RestoreRequest(keep="before")))
    refused(lambda: service.delete_branch("shop"))
    service.mark_branch("shop", MarkRequest(mark=Mark.UNPROTECT))
    assert service.restore_branch("shop", RestoreRequest(keep="before")).kept == "before"
