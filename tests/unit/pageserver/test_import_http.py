"""An import over HTTP into an empty storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.disks import Disks
from neon_compose.errors import Invalid, NotFound, Unavailable
from neon_compose.pageserver.app import make_app
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.claims import Claims
from neon_compose.pageserver.computes import Computes
from neon_compose.pageserver.deleting import Deleting
from neon_compose.pageserver.fetches import Fetches
from neon_compose.pageserver.parts import Parts
from neon_compose.pageserver.service import Service
from neon_compose.pageserver.sizes import Sizes
from neon_compose.postgres.versions import Version
from neon_compose.wire import ndjson
from neon_compose.wire.fetching import FetchReport, FetchRequest, Via
from neon_compose.wire.pageserver_client import PageserverClient
from tests.serving import Switch
from tests.unit.layer.pgdata import make_pgdata
from tests.unit.pageserver.scratch import FILES, make_birth

DUMP = b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (a int);\n-- PostgreSQL database dump complete\n"


@pytest.fixture
def client(server: tuple[Switch, str], tmp_path: Path) -> Iterator[PageserverClient]:
    birth, store, scratch = make_birth(tmp_path)
    unused: Computes | Branches | Claims | None = None
    parts = Parts(
        name="shop",
        store=store,
        scratch=scratch,
        version=Version(17, tmp_path),
        birth=birth,
        fetches=Fetches(scratch),
        branches=unused,  # type: ignore[arg-type]
        claims=unused,  # type: ignore[arg-type]
        computes=unused,  # type: ignore[arg-type]
        restoring=unused,  # type: ignore[arg-type]
        recovering=unused,  # type: ignore[arg-type]
        chronicle=unused,  # type: ignore[arg-type]
        deleting=Deleting(store, lambda _: None, lambda _: None, lambda _: True, lambda: None),
        differ=unused,  # type: ignore[arg-type]
        sizes=Sizes(store, lambda _: 0),
        known_settings=frozenset(),
        warm_up=lambda: None,
    )
    switch, address = server
    switch.app = make_app(Service(parts), "token", Disks(()))
    with PageserverClient(address, "token") as client:
        yield client


def test_a_dump_becomes_a_storage_and_its_spool_is_gone(client: PageserverClient, tmp_path: Path) -> None:
    assert client.status().empty
    events = list(client.import_stream("plain", iter([DUMP[:20], DUMP[20:]])))
    assert isinstance(events[-1], ndjson.Result)
    assert events[-1].result["snapshots"] == ["import"]
    assert "restore" in [event.name for event in events if isinstance(event, ndjson.Step)]
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("body", [b"", DUMP[:-40], b"\0" * 1000])
def test_a_bad_dump_leaves_nothing(client: PageserverClient, tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Invalid):
        list(client.import_stream("auto", iter([body])))
    assert client.status().empty
    assert list((tmp_path / "scratch").iterdir()) == []
    assert list((tmp_path / "storage").iterdir()) == []


def test_an_unknown_format_is_refused(client: PageserverClient) -> None:
    with pytest.raises(Invalid, match="format"):
        list(client.import_stream("zip", iter([DUMP])))


def test_a_fetched_cluster_becomes_a_storage_and_the_fetch_is_gone(
    client: PageserverClient, tmp_path: Path
) -> None:
    fetch = client.begin_fetch(FetchRequest(server="postgres://joe@h/my%20shop", password="s3cret"))
    folder = tmp_path / "scratch" / fetch.id
    assert (folder / "request.json").stat().st_mode & 0o777 == 0o600
    make_pgdata(folder / "data", FILES)
    (folder / "report.json").write_text(FetchReport(via=Via.BACKUP, database="my shop").model_dump_json())
    events = list(client.import_fetched(fetch.id))
    assert isinstance(events[-1], ndjson.Result)
    assert client.credentials("main").database == "my shop"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_fetch_that_did_not_come_to_its_end_makes_no_storage(
    client: PageserverClient, tmp_path: Path
) -> None:
    fetch = client.begin_fetch(FetchRequest(server="postgres://joe@h/shop"))
    with pytest.raises(Unavailable, match="did not come to its end"):
        list(client.import_fetched(fetch.id))
    assert client.status().empty
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("name", ["fetch-0123456789abcdef", "..", "fetch-../../storage"])
def test_only_a_fetch_that_was_begun_can_be_imported(client: PageserverClient, name: str) -> None:
    with pytest.raises(NotFound):
        list(client.import_fetched(name))


def test_dropping_a_fetch_removes_its_password_and_nothing_else(
    client: PageserverClient, tmp_path: Path
) -> None:
    kept = client.begin_fetch(FetchRequest(folder="/data"))
    gone = client.begin_fetch(FetchRequest(server="postgres://joe@h/shop", password="s3cret"))
    client.drop_fetch(gone.id)
    client.drop_fetch(gone.id)
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [kept.id]
