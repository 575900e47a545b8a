"""The pageserver over HTTP, as the controller's client sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from neon_compose.disks import Disks
from neon_compose.errors import (
    Conflict,
    Invalid,
    Malformed,
    NeonError,
    NotFound,
    Unauthorised,
    from_problem,
)
from neon_compose.model.states import Durability
from neon_compose.pageserver.app import make_app
from neon_compose.pageserver.chronicle import Chronicle
from neon_compose.pageserver.deleting import Deleting
from neon_compose.pageserver.fetches import Fetches
from neon_compose.pageserver.parts import Parts
from neon_compose.pageserver.recovering import Recovering
from neon_compose.pageserver.redoing import RedoJobs
from neon_compose.pageserver.service import Service
from neon_compose.pageserver.sizes import Sizes
from neon_compose.postgres.versions import Version
from neon_compose.wait import Deadline, until
from neon_compose.wire import ndjson
from neon_compose.wire.pageserver_client import PageserverClient
from tests.serving import Switch
from tests.unit.pageserver.scratch import make_birth
from tests.unit.pageserver.storage import World

TOKEN = "s3cret"


def service_of(world: World, redo: RedoJobs | None = None) -> Service:
    birth, store, scratch = make_birth(world.tmp_path)
    return Service(
        Parts(
            name="shop",
            store=store,
            scratch=scratch,
            version=Version(17, world.bin),
            birth=birth,
            fetches=Fetches(scratch),
            branches=world.branches,
            claims=world.claims,
            computes=world.computes,
            restoring=world.restoring,
            recovering=Recovering(world.store, world.quorum, world.seeds, world.computes.resting),
            chronicle=Chronicle(world.moments, world.records),
            deleting=deleting_of(world, redo),
            differ=world.differ(),
            sizes=Sizes(world.store, world.computes.writer_own_bytes),
            known_settings=frozenset({"work_mem", "shared_buffers"}),
            warm_up=lambda: None,
            redo=redo,
        )
    )


def deleting_of(world: World, redo: RedoJobs | None = None) -> Deleting:
    suspect = redo.suspect if redo else lambda _: None
    return Deleting(world.store, world.restoring.settle, suspect, world.quorum.forget, lambda: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def address(server: tuple[Switch, str], world: World) -> str:
    switch, address = server
    switch.app = make_app(service_of(world), TOKEN, Disks(()))
    return address


@pytest.fixture
def raw(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture
def client(address: str) -> Iterator[PageserverClient]:
    with PageserverClient(address, TOKEN) as client:
        yield client


def postgres_says(world: World, script: str) -> None:
    path = world.bin / "postgres"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_everything_but_healthz_wants_the_token(raw: httpx.Client) -> None:
    assert raw.get("/healthz").status_code == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        response = raw.get("/v1/status", headers=headers)
        assert response.status_code == 401
        assert isinstance(from_problem(response.json()), Unauthorised)


def test_status_tells_what_there_is_but_no_password(
    raw: httpx.Client, client: PageserverClient, world: World
) -> None:
    status = client.status()
    assert (status.name, status.empty, status.branches, status.snapshots) == (
        "shop",
        False,
        ["main"],
        ["init"],
    )
    assert status.size_bytes > 8192
    body = raw.get("/v1/status", headers={"Authorization": f"Bearer {TOKEN}"}).text
    assert world.doc.admin_password not in body
    assert client.credentials("main").password == world.doc.admin_password


def test_initialise_of_a_made_storage_is_success(client: PageserverClient) -> None:
    events = list(client.initialise())
    assert isinstance(events[-1], ndjson.Result)


def test_a_branch_is_201_when_new_and_200_when_it_was_there(raw: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    codes = [
        raw.put("/v1/branches/b", json={"moment": "init"}, headers=headers).status_code for _ in range(2)
    ]
    assert codes == [201, 200]


def test_a_snapshot_over_http_from_made_to_gone(client: PageserverClient) -> None:
    client.create_branch("b", from_branch="main")
    made, created = client.create_snapshot("one", from_branch="main")
    assert created
    assert client.create_snapshot("one", from_branch="main") == (made, False)
    assert client.snapshot("one") == made
    assert made.branch == "main"
    assert {one.name for one in client.snapshots()} == {"init", "one"}
    with pytest.raises(Conflict) as taken:
        client.create_snapshot("init", from_branch="b")
    assert taken.value.code == "snapshot_exists"
    assert client.create_branch("c", from_branch="b", moment="one")[0].snapshot in ("init", "one")
    client.delete_snapshot("one")
    client.delete_snapshot("one")
    with pytest.raises(NotFound):
        client.snapshot("one")
    assert [one.name for one in client.branches()] == ["b", "c", "main"]


@pytest.mark.parametrize(
    ("moment", "kind", "code"),
    [
        ("5x", Invalid, "bad_moment"),
        ("2999-01-01T00:00:00Z", Invalid, "future_moment"),
        ("2001-01-01T00:00:00Z", NotFound, "no_such_moment"),
        ("0/1", NotFound, "no_such_moment"),
        ("FFFFFFFF/0", NotFound, "no_such_moment"),
        ("nothing", NotFound, "no_snapshot"),
    ],
)
def test_a_moment_that_is_none_makes_nothing(
    client: PageserverClient, moment: str, kind: type[NeonError], code: str
) -> None:
    for make in (client.create_branch, client.create_snapshot):
        with pytest.raises(kind) as caught:
            make("b", from_branch="main", moment=moment)
        assert caught.value.code == code
    assert [one.name for one in client.branches()] == ["main"]
    assert [one.name for one in client.snapshots()] == ["init"]


def test_a_compute_from_nothing_to_open_and_back(client: PageserverClient) -> None:
    prepared = client.prepare("try1", "try1", moment="init")
    assert client.layout("try1", prepared.generation, 15432, {}).files == 4
    assert client.open("try1", prepared.generation, 15432, wait_s=5.0).lsn
    assert [one.pg for one in client.computes()] == ["try1"]
    assert client.compute("try1").branch == "try1"
    client.delete_compute("try1")
    with pytest.raises(NotFound):
        client.compute("try1")


def test_sizes_are_of_what_a_branch_does_not_share(client: PageserverClient, world: World) -> None:
    client.create_branch("b", from_branch="main")
    sizes = {one.name: one.own_bytes for one in client.sizes()}
    assert sizes["main"] > 0
    assert sizes["b"] == 0
    world.up("try1", "b")
    until("its marker", lambda: not client.compute("try1").settling, Deadline.after(30))
    sizes = {one.name: one.own_bytes for one in client.sizes()}
    assert sizes["b"] == client.compute("try1").own_bytes


def test_settings_are_refused_before_anything_is_touched(client: PageserverClient, world: World) -> None:
    prepared = client.prepare("try1", "main")
    with pytest.raises(Invalid, match='"work_men" does not exist') as caught:
        client.layout("try1", prepared.generation, 15432, {"work_men": "1MB"})
    assert '"work_mem"' in caught.value.hint
    assert not world.generations.paths("try1", prepared.generation).data.exists()


def test_values_are_checked_by_the_binary_once(client: PageserverClient, world: World) -> None:
    postgres_says(world, 'echo x >> "$(dirname "$0")/asked"')
    for _ in range(3):
        client.check_settings({"work_mem": "8MB"})
    assert (world.bin / "asked").read_text() == "x\n"


def test_durability_off_is_refused_by_name(client: PageserverClient) -> None:
    with pytest.raises(Invalid) as caught:
        client.check_settings({}, Durability.OFF)
    assert caught.value.code == "not_available"


@pytest.mark.parametrize("name", ["Main", "a_b", "..", "x" * 50])
def test_names_are_checked(client: PageserverClient, name: str) -> None:
    with pytest.raises((Invalid, NotFound)):
        client.prepare(name, "main")
    with pytest.raises((Invalid, NotFound)):
        client.create_branch(name, moment="init")


def test_an_import_over_a_storage_is_refused_before_its_body_is_kept(
    client: PageserverClient, world: World
) -> None:
    with pytest.raises(Conflict) as caught:
        list(client.import_stream("auto", iter([b"x"] * 10)))
    assert caught.value.code == "storage_exists"
    assert list(world.scratch.iterdir()) == []


def test_bad_bodies_fields_and_routes_are_problems(raw: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    broken = raw.post(
        "/v1/computes/a/prepare", content=b"{", headers={**headers, "Content-Type": "application/json"}
    )
    unknown = raw.post("/v1/computes/a/prepare", json={"branch": "main", "brunch": 1}, headers=headers)
    nowhere = raw.get("/v1/nope", headers=headers)
    assert isinstance(from_problem(broken.json()), Malformed)
    assert "brunch" in unknown.json()["title"]
    assert (broken.status_code, unknown.status_code, nowhere.status_code) == (400, 422, 404)
    assert nowhere.headers["content-type"] == "application/problem+json"


def test_a_stream_that_was_cut_off_is_an_error() -> None:
    def cut(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b'{"event":"step","name":"pack","state":"start"}\n')

    with (
        PageserverClient("http://storage", TOKEN, transport=httpx.MockTransport(cut)) as client,
        pytest.raises(Exception, match="ended before its result"),
    ):
        list(client.initialise())


def test_a_log_comes_over_the_wire(client: PageserverClient) -> None:
    client.initialise()
    found = client.branch_log("main", 5)
    assert (found.minutes, found.start_lsn) == ([], found.end_lsn)
    with pytest.raises(NotFound):
        client.branch_log("other", 5)
    with pytest.raises(Invalid):
        client.branch_log("main", 0)
