"""A storage from a running server or a data directory: which container fetches it, and what is left."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from neon_compose.controller import stack, storages
from neon_compose.engine.runtime import ContainerSpec
from neon_compose.errors import Invalid, NotFound, Unavailable
from neon_compose.model.states import StorageType
from neon_compose.wire.rest import StackIn, StorageIn
from tests.fakes_pageserver import FakeStore
from tests.site import Fixture

SERVER = "postgres://joe@db.example:5433/shop"
RESULT = json.dumps({"result": {"via": "dump"}})


def asked(source: str, password: str | None = None) -> StorageIn:
    secret = SecretStr(password) if password else None
    return StorageIn(name="crm", type=StorageType.NATIVE, import_=source, import_password=secret)


def fetching(fixture: Fixture, *lines: str) -> list[ContainerSpec]:
    """Have fetching containers say `lines`; their specs."""
    seen: list[ContainerSpec] = []

    def program(spec: ContainerSpec) -> tuple[int, list[str]] | None:
        if "neon_compose.pageserver.fetch" not in (spec.entrypoint or ()):
            return None
        seen.append(spec)
        return 0, list(lines)

    fixture.engine.program = program
    return seen


def imported(store: FakeStore) -> dict[str, str]:
    found: dict[str, str] = json.loads(store.imported)
    return found


def test_a_server_is_fetched_on_the_hosts_network_with_the_password_in_no_spec(shop: Fixture) -> None:
    seen = fetching(shop, RESULT)
    storages.attach(shop.site, asked(SERVER, "s3cret"))
    assert imported(shop.pageservers.store("crm")) == {
        "server": SERVER,
        "password": "s3cret",
        "folder": None,
    }
    (spec,) = seen
    assert (spec.network, spec.user, spec.cap_add) == ("host", "10001:10001", ())
    assert "s3cret" not in repr(spec)
    assert shop.site.documents.read().storages["crm"].imported == SERVER
    assert [name for name in shop.engine.boxes if "probe" in name] == []
    assert shop.pageservers.store("crm").fetches == {}


def test_a_password_in_the_address_is_written_down_nowhere(shop: Fixture) -> None:
    fetching(shop, RESULT)
    storages.attach(shop.site, asked("postgres://joe:s3cret@db.example:5433/shop"))
    assert imported(shop.pageservers.store("crm"))["password"] == "s3cret"
    written = [path.read_text() for path in shop.site.documents.root.rglob("*.json")]
    assert all("s3cret" not in text for text in written)


def test_a_password_in_a_stack_file_is_written_down_nowhere(shop: Fixture) -> None:
    fetching(shop, RESULT)
    config = {"name": "t", "minio": False, "storages": {"crm": {"import": "postgres://joe:s3cret@h/shop"}}}
    assert stack.apply(shop.site, StackIn(config=config)).problems == []
    assert imported(shop.pageservers.store("crm"))["password"] == "s3cret"
    written = [path.read_text() for path in shop.site.documents.root.rglob("*.json")]
    assert all("s3cret" not in text for text in written)


def test_a_data_directory_is_mounted_read_only_for_a_root_without_a_network(shop: Fixture) -> None:
    folder = shop.host / "srv/pg"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("17\n")
    seen = fetching(shop, RESULT)
    storages.attach(shop.site, asked("/srv/pg"))
    (spec,) = seen
    assert [mount.read_only for mount in spec.mounts if mount.source == "/srv/pg"] == [True]
    assert (spec.network, spec.user) == ("none", "0:0")
    assert imported(shop.pageservers.store("crm"))["folder"] == "/srv/pg"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([json.dumps({"problem": {"title": "the source refused the role", "kind": "invalid"}})], "refused"),
        (["Traceback (most recent call last)", "MemoryError"], "ended early"),
        ([], "ended early"),
    ],
)
def test_a_fetch_that_fails_leaves_nothing(shop: Fixture, lines: list[str], said: str) -> None:
    before = shop.world()
    fetching(shop, *lines)
    with pytest.raises((Invalid, Unavailable), match=said):
        storages.attach(shop.site, asked(SERVER, "s3cret"))
    assert shop.world() == before


def test_a_missing_socket_folder_is_told_in_words_about_sockets(shop: Fixture) -> None:
    before = shop.world()
    with pytest.raises(NotFound, match="Unix socket"):
        storages.attach(shop.site, asked("postgres:///shop?host=/run/nowhere"))
    assert shop.world() == before


def test_the_same_server_again_is_success_and_another_is_a_conflict(shop: Fixture) -> None:
    fetching(shop, RESULT)
    storages.attach(shop.site, asked(SERVER, "s3cret"))
    out = storages.attach(shop.site, asked(SERVER))
    assert isinstance(out, tuple)
    assert out[1] is False
