"""An import over HTTP into an empty storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neon_compose.errors import Invalid
from neon_compose.pageserver.app import make_app
from neon_compose.pageserver.branches import Branches
from neon_compose.pageserver.claims import Claims
from neon_compose.pageserver.computes import Computes
from neon_compose.pageserver.service import Parts, Service
from neon_compose.postgres.versions import Version
from neon_compose.wire import ndjson
from neon_compose.wire.pageserver_client import PageserverClient
from tests.serving import Switch
from tests.unit.pageserver.scratch import make_birth

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
        branches=unused,  # type: ignore[arg-type]
        claims=unused,  # type: ignore[arg-type]
        computes=unused,  # type: ignore[arg-type]
        known_settings=frozenset(),
        warm_up=lambda: None,
    )
    switch, address = server
    switch.app = make_app(Service(parts), "token")
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
