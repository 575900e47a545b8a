"""Redo jobs over HTTP, and what branches say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from neon_compose.disks import Disks
from neon_compose.errors import Conflict, Corrupt, NotFound
from neon_compose.model.lsn import Lsn
from neon_compose.objectstore import manifests
from neon_compose.pageserver.app import make_app
from neon_compose.wire import ndjson
from neon_compose.wire.pageserver import Redone
from neon_compose.wire.pageserver_client import PageserverClient
from tests.serving import Switch
from tests.unit.pageserver.storage import World
from tests.unit.pageserver.test_app import TOKEN, service_of
from tests.unit.pageserver.test_redoing import Jobs


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(World(tmp_path))


@pytest.fixture
def client(server: tuple[Switch, str], jobs: Jobs) -> Iterator[PageserverClient]:
    switch, address = server
    switch.app = make_app(service_of(jobs.world, jobs.jobs), TOKEN, Disks(()))
    with PageserverClient(address, TOKEN) as client:
        yield client


def last(client: PageserverClient, name: str) -> ndjson.Event:
    return list(client.redo(name))[-1]


def test_a_branchs_wal_becomes_a_layer_when_asked_for(client: PageserverClient, jobs: Jobs) -> None:
    end = jobs.commit(4096)
    answer = last(client, "main")
    assert isinstance(answer, ndjson.Result)
    redone = Redone.model_validate(answer.result)
    assert (redone.layers, redone.tip_lsn) == ([str(jobs.place.main().tip)], str(end))
    assert redone.wal_bytes >= 4096
    [main] = client.branches()
    assert (main.tip_lsn, main.redo_lag_bytes, main.redo) == (str(end), 0, None)
    assert main.redo_rate
    assert Lsn.parse(main.start_lsn) < end


def test_what_went_wrong_is_the_answer_and_is_shown(client: PageserverClient, jobs: Jobs) -> None:
    jobs.commit(4096)
    jobs.wal.failure = Corrupt("WAL is damaged at 0/5", detail="No valid record follows there.")
    with pytest.raises(Corrupt, match="damaged at 0/5"):
        last(client, "main")
    assert client.branches()[0].redo == "WAL is damaged at 0/5. No valid record follows there."


def test_a_storage_whose_wal_stays_in_its_computes_has_none_to_replay(
    server: tuple[Switch, str], jobs: Jobs
) -> None:
    switch, address = server
    switch.app = make_app(service_of(jobs.world), TOKEN, Disks(()))
    with PageserverClient(address, TOKEN) as client:
        with pytest.raises(Conflict) as caught:
            last(client, "main")
        assert caught.value.code == "no_wal"
        assert client.branches()[0].redo_lag_bytes is None


def test_a_layer_that_is_gone_hides_no_branch(client: PageserverClient, jobs: Jobs) -> None:
    jobs.world.branches.create("try", None, "init")
    child = manifests.read_branch(jobs.world.store, "try")
    manifests.update_manifest(
        jobs.world.store, child.branch_id, lambda one: replace(one, layers=(UUID(int=5),))
    )
    assert [(one.name, one.tip_lsn is None) for one in client.branches()] == [("main", False), ("try", True)]


def test_an_unknown_branch_has_none(client: PageserverClient) -> None:
    with pytest.raises(NotFound):
        last(client, "other")
