"""HTTP of a safekeeper, through the real client and a real server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from neon_compose.disks import Disks
from neon_compose.errors import Conflict, Invalid, NotFound, Unauthorised, Unavailable, from_problem
from neon_compose.safekeeper.app import make_app
from neon_compose.safekeeper.wal import Wal
from neon_compose.terms.history import History, TermStart
from neon_compose.terms.members import Answer, Report
from neon_compose.wire.safekeeper import ReceiverRequest
from neon_compose.wire.safekeeper_client import SafekeeperClient
from tests.serving import served
from tests.unit.safekeeper.world import BRANCH, HEAD, OLDEST, SIZE, World, at

TOKEN = "t0k3n"
HISTORY = History((TermStart(1, OLDEST),))
PRIMARY = ReceiverRequest(term=1, host="10.0.0.9", port=5432, user="cloud", password=SecretStr("p4ss"))


@pytest.fixture
def address(world: World) -> Iterator[str]:
    with served(make_app(world.service, TOKEN, Disks(()))) as url:
        yield url


@pytest.fixture
def client(address: str) -> Iterator[SafekeeperClient]:
    with SafekeeperClient(address, TOKEN) as client:
        yield client


def test_everything_but_healthz_wants_the_token(address: str) -> None:
    assert httpx.get(f"{address}/healthz").status_code == 200
    response = httpx.get(f"{address}/v1/status")
    assert response.status_code == 401
    assert isinstance(from_problem(response.json()), Unauthorised)


def test_a_branch_from_enrolling_to_its_end(client: SafekeeperClient, world: World) -> None:
    with pytest.raises(NotFound) as caught:
        client.branch(BRANCH)
    assert caught.value.code == "no_branch"
    assert client.enrol(BRANCH, world.query(), HEAD).flushed == str(OLDEST)
    assert client.promise(BRANCH, 1) == world.keeper.promise(1)
    assert client.adopt(BRANCH, HISTORY, []).term == 1
    client.expect(BRANCH, PRIMARY)
    assert client.branch(BRANCH).receiver == "stopped"
    assert client.receive(BRANCH, PRIMARY).receiver == "receiving"
    world.receiver.arrive(b"x" * SIZE * 2)
    end = at(SIZE * 2)
    assert client.branch(BRANCH).report() == Report(world.keeper.now.member.identity, 1, end)
    client.commit(BRANCH, 1, end)
    assert b"".join(client.wal(BRANCH, OLDEST, end)) == b"x" * SIZE * 2
    assert client.trim(BRANCH, at(SIZE)).oldest == str(at(SIZE))
    (status,) = client.status().branches
    assert status == client.branch(BRANCH)
    client.stop_receiving(BRANCH)
    answer = client.promise(BRANCH, 2)
    assert isinstance(answer, Answer)
    assert (answer.log.end, answer.log.history, answer.counts) == (end, HISTORY, True)
    client.delete(BRANCH)
    client.delete(BRANCH)
    assert client.status().branches == []


def test_no_answer_tells_a_password(client: SafekeeperClient, address: str, world: World) -> None:
    client.enrol(BRANCH, world.query(), HEAD)
    client.promise(BRANCH, 1)
    client.adopt(BRANCH, HISTORY, [])
    client.receive(BRANCH, PRIMARY)
    said = httpx.get(f"{address}/v1/status", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert "p4ss" not in said
    assert "p4ss" not in (world.folder / "member.json").read_text()


def test_what_can_not_be_asked_is_refused(client: SafekeeperClient, world: World) -> None:
    with pytest.raises(Invalid):
        client.enrol(BRANCH, world.query(), HEAD[1:])
    with pytest.raises(Invalid):
        client.enrol(BRANCH, world.query().model_copy(update={"segment_size": 5}), HEAD)
    client.enrol(BRANCH, world.query(), HEAD)
    with pytest.raises(Invalid):
        client.adopt(BRANCH, History(), [])
    with pytest.raises(Conflict):
        next(client.wal(BRANCH, OLDEST, at(1)))
    with pytest.raises(Conflict):
        next(client.wal(BRANCH, at(5), OLDEST))
    with pytest.raises(Conflict) as caught:
        client.receive(BRANCH, PRIMARY)
    assert caught.value.code == "not_adopted"


def test_wal_that_ends_early_is_not_taken_for_all(
    client: SafekeeperClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.enrol(BRANCH, world.query(), HEAD)
    client.promise(BRANCH, 1)
    client.adopt(BRANCH, HISTORY, [])
    client.receive(BRANCH, PRIMARY)
    world.receiver.arrive(b"x" * SIZE)
    monkeypatch.setattr(Wal, "_pieces", lambda *_: iter([b"x" * 10]))
    with pytest.raises(Unavailable):
        list(client.wal(BRANCH, OLDEST, at(20)))


def test_nobody_there_is_unavailable() -> None:
    with SafekeeperClient("http://127.0.0.1:9", TOKEN) as client, pytest.raises(Unavailable) as caught:
        client.status()
    assert caught.value.code == "safekeeper_down"
