"""kill -9 of the controller before and after every step of every plan, over fakes.

Then a new controller comes to the same documents and the same engine, as the engine's restart policy
brings it. Either the same request is made again, and is done; or nobody asks again and the stack is brought
up: then the request is done, or all is as it was before. Either way nothing is left over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from neon_compose.controller import (
    branches,
    checkouts,
    leftovers,
    pgs,
    pods,
    restores,
    stack,
    storages,
)
from neon_compose.controller.site import Site
from neon_compose.engine.runtime import ContainerSpec
from neon_compose.errors import Conflict, NotFound
from neon_compose.model.states import Component, StorageType
from neon_compose.wire.rest import (
    BranchAction,
    BranchVerb,
    PgAction,
    PgIn,
    PgVerb,
    StackIn,
    StorageAction,
    StorageIn,
    StorageVerb,
)
from tests.kills.mortal import Killed, Life
from tests.site import STACK, Fixture, made

Request = Callable[[Site], object]
CONFIG: dict[str, Any] = {"name": STACK, "minio": False, "safekeepers": 0, "storages": {}, "pgs": {}}
KEPT = CONFIG | {"safekeepers": 2}
FULL = CONFIG | {
    "safekeepers": 2,
    "storages": {"main": {}},
    "pgs": {"main": {"storage_name": "main"}, "dev": {"storage_name": "main", "from": "main@init"}},
}


# ---- requests


def attach(**more: Any) -> Request:
    return lambda site: storages.attach(site, StorageIn(name="crm", type=StorageType.NATIVE, **more))


def upload(site: Site) -> None:
    request = StorageIn(name="crm", type=StorageType.NATIVE)
    storages.attach(site, request, upload=storages.Upload("custom", iter([b"PGDMP", b"rows"])))


def refresh(site: Site) -> None:
    """Repeated when it had come to its end, it would be another one."""
    if len(storages.show(site, "crm").snapshots) == 1:
        storages.refresh(site, "crm", StorageAction(action=StorageVerb.REFRESH))


def detach(name: str = "crm", *, purge: bool = False) -> Request:
    return lambda site: storages.detach(site, name, purge=purge)


def put(**more: Any) -> Request:
    return lambda site: pgs.put(site, PgIn(name="a", storage_name="shop", **more))


def act(verb: PgVerb) -> Request:
    return lambda site: pgs.act(site, "a", PgAction(action=verb))


def destroy(*, discard_writes: bool = False) -> Request:
    return lambda site: pgs.destroy(site, "a", discard_writes=discard_writes)


def put_branch(site: Site) -> object:
    return branches.put(site, "shop", "b", "shop@init")


def delete_branch(site: Site) -> object:
    return branches.delete(site, "shop", "b")


def restore(site: Site) -> None:
    """Repeated when it had come to its end, it is refused: its old state has that name already."""
    action = BranchAction(action=BranchVerb.RESTORE, to="init", keep="kept")
    try:
        restores.act(site, "shop", "a", action)
    except Conflict as error:
        if error.code != "branch_exists":
            raise


def checkout(site: Site) -> object:
    return checkouts.checkout(site, "a", "main")


def up(config: dict[str, Any], *, prune: bool = False) -> Request:
    def request(site: Site) -> None:
        out = stack.apply(site, StackIn(config=config, prune=prune))
        assert out.problems == []

    return request


def stop_all(site: Site) -> None:
    assert stack.stop(site).problems == []


# ---- what is there before


@dataclass
class Before:
    """Requests, and what else happens to the world, before the request that is cut off."""

    requests: tuple[Request, ...] = ()
    then: Callable[[Fixture], object] = lambda _: None

    def make(self, fixture: Fixture) -> None:
        fixture.engine.program = _fetched
        for request in (attach_shop, *self.requests):
            request(fixture.site)
        self.then(fixture)


def attach_shop(site: Site) -> None:
    storages.attach(site, StorageIn(name="shop", type=StorageType.NATIVE))
    pods.top_up(site)


def _fetched(spec: ContainerSpec) -> tuple[int, list[str]] | None:
    if "neon_compose.pageserver.fetch" not in (spec.entrypoint or ()):
        return None
    return 0, [json.dumps({"result": {"via": "dump"}})]


def crashed(fixture: Fixture) -> None:
    fixture.engine.end("t_pg_a")


def written(fixture: Fixture) -> None:
    fixture.pageservers.store("shop").computes["a"].has_writes = True


def pageserver_dead(fixture: Fixture) -> None:
    fixture.engine.end("t_storage_shop")


def outdated(fixture: Fixture) -> None:
    """A newer version came: everything has another image."""
    doc = fixture.site.documents.read().stack
    images = {name: f"{tag}-new" for name, tag in doc.images.items()}
    fixture.site.documents.put(doc.model_copy(update={"images": images}))


def moved(fixture: Fixture) -> None:
    fixture.engine.host_path("/srv/old").rename(fixture.engine.host_path("/srv/new"))


BRANCH = {"from_": "shop@init", "start": True}
ALONE = BRANCH | {"port": 16200}
STOPPED = (put(**BRANCH), act(PgVerb.STOP))
STOPPED_ALONE = (put(**ALONE), act(PgVerb.STOP))
SERVER = {"import_": "postgres://joe@db.example:5433/shop"}

CASES: dict[str, tuple[Before, Request]] = {
    "attach": (Before(), attach()),
    "attach a folder": (Before(), attach(path="/srv/data/crm")),
    "attach from a server": (Before(), attach(**SERVER)),
    "attach from an upload": (Before(), upload),
    "refresh": (Before((attach(**SERVER),)), refresh),
    "detach": (Before((attach(),)), detach()),
    "detach a folder": (Before((attach(path="/srv/crm"),)), detach()),
    "purge": (Before((attach(),)), detach(purge=True)),
    "purge a folder": (Before((attach(path="/srv/crm"),)), detach(purge=True)),
    "follow a moved folder": (Before((attach(path="/srv/old"),), moved), attach(path="/srv/new")),
    "purge what safekeepers have too": (Before((up(KEPT), attach())), detach(purge=True)),
    "keep another history": (Before((attach(),)), attach(history="2h")),
    "make a branch": (Before(), put_branch),
    "delete a branch": (Before((put_branch,)), delete_branch),
    "create": (Before(), put()),
    "create with a branch": (Before(), put(from_="shop@init")),
    "create with settings": (Before(), put(from_="shop@init", settings={"work_mem": "8MB"})),
    "branch": (Before(), put(**BRANCH)),
    "branch on a port of its own": (Before(), put(**ALONE)),
    "change settings": (Before((put(**BRANCH),)), put(settings={"work_mem": "8MB"})),
    "start": (Before(STOPPED), act(PgVerb.START)),
    "start what was created": (Before((put(from_="shop@init"),)), act(PgVerb.START)),
    "start what crashed": (Before((put(**BRANCH),), crashed), act(PgVerb.START)),
    "start where the pageserver died": (Before(STOPPED, pageserver_dead), act(PgVerb.START)),
    "stop": (Before((put(**BRANCH),)), act(PgVerb.STOP)),
    "restart": (Before((put(**BRANCH),)), act(PgVerb.RESTART)),
    "restart on another port": (Before((put(**ALONE), put(port=16300))), act(PgVerb.RESTART)),
    "restore": (Before((put(**BRANCH),)), restore),
    "restore under a stopped pg": (Before(STOPPED), restore),
    "check out": (Before((put(**BRANCH),)), checkout),
    "check out what is stopped": (Before(STOPPED), checkout),
    "destroy": (Before(STOPPED), destroy()),
    "destroy what was created": (Before((put(from_="shop@init"),)), destroy()),
    "destroy what crashed": (Before((put(**BRANCH),), crashed), destroy()),
    "destroy on a port of its own": (Before(STOPPED_ALONE), destroy()),
    "destroy with writes": (Before(STOPPED, written), destroy(discard_writes=True)),
    "up": (Before(), up(FULL)),
    "up with new images": (Before((up(FULL),), outdated), up(FULL)),
    "up with prune": (Before((up(FULL),)), up(CONFIG, prune=True)),
    "stop everything": (Before((up(FULL),)), stop_all),
}


# ---- worlds


@contextmanager
def world(before: Before) -> Iterator[Fixture]:
    with made() as fixture:
        before.make(fixture)
        yield fixture


def shape(fixture: Fixture) -> dict[str, Any]:
    """What can be compared between two worlds: all but times, generations, and pods, which are spares."""
    desired = fixture.site.documents.read()
    docs = [*desired.storages.values(), *desired.pgs.values()]
    boxes = fixture.engine.boxes.items()
    containers = {n: b.state.value for n, b in boxes if b.spec.component is not Component.POD}
    specs = {n: (b.spec.image, b.spec.mounts, b.spec.command) for n, b in boxes if n in containers}
    stores = {
        name: (
            store.empty,
            store.snapshots,
            store.branches,
            store.deleted,
            store.imported,
            store.fetches,
            _computes(store),
        )
        for name, store in fixture.pageservers.stores.items()
        if not store.empty and (store.folder is None or (store.folder / "storage.json").exists())
    }
    files = sorted(str(path.relative_to(fixture.host)) for path in fixture.host.rglob("*") if path.is_file())
    return {
        "documents": [one.model_dump(exclude={"created_at", "made", "storage_id"}) for one in docs],
        "containers": containers,
        "specs": specs,
        "kept": fixture.engine.contents()[1:],
        "stores": stores,
        "files": files,
    }


def _computes(store: Any) -> dict[str, tuple[str, bool, bool, bool]]:
    return {pg: (one.branch, one.laid_out, one.opened, one.has_writes) for pg, one in store.computes.items()}


def settled(fixture: Fixture, site: Site) -> dict[str, Any]:
    """The world's shape once `site` has nothing in the background any more, and nothing is left over."""
    site.workers.shutdown(wait=True)
    found = leftovers.find(site)
    assert found == []
    return shape(fixture)


def arrived(fixture: Fixture) -> Site:
    """A new controller, that has brought back what documents want."""
    site = fixture.again()
    stack.bring_back(site)
    assert site.problems == []
    return site


@cache
def worlds(case: str) -> tuple[dict[str, Any], dict[str, Any], tuple[tuple[str, int], ...]]:
    """Of a case that nobody cuts off: the world before (brought up), the one after, and the moments."""
    before, request = CASES[case]
    with world(before) as fixture:
        site = arrived(fixture)
        up(_config(fixture))(site)
        shape_before = settled(fixture, site)
    with world(before) as fixture:
        life = Life()
        site = fixture.again(life)
        site.ready.set()
        request(site)
        shape_after = settled(fixture, site)
    seen: Counter[str] = Counter()
    moments = []
    for moment in life.moments:
        seen[moment] += 1
        moments.append((moment, seen[moment]))
    return shape_before, shape_after, tuple(moments)


def _config(fixture: Fixture) -> dict[str, Any]:
    """The last stack file that was applied."""
    return CONFIG | fixture.site.documents.read().stack.config


def killed_at(fixture: Fixture, request: Request, moment: str, nth: int) -> None:
    life = Life(moment, nth)
    site = fixture.again(life)
    site.ready.set()
    with pytest.raises(Killed):
        request(site)
    assert life.over
    site.close()


def repeat(site: Site, request: Request) -> None:
    try:
        request(site)
    except NotFound:  # what was to go is gone
        pass
    except Conflict as error:
        if (
            error.code == "pg_running"
        ):  # the new controller brought a crashed one back before it was destroyed
            act(PgVerb.STOP)(site)
            request(site)
        else:  # the upload has become a storage
            assert error.code == "storage_exists"  # noqa: PT017


def each_moment(case: str) -> Iterator[tuple[str, int]]:
    moments = worlds(case)[2]
    assert len(moments) >= 2
    yield from moments


@pytest.mark.parametrize("case", CASES)
def test_a_request_that_was_cut_off_anywhere_can_be_repeated_to_its_end(case: str) -> None:
    before, request = CASES[case]
    after = worlds(case)[1]
    for moment, nth in each_moment(case):
        with world(before) as fixture:
            killed_at(fixture, request, moment, nth)
            site = arrived(fixture)
            repeat(site, request)
            assert settled(fixture, site) == after, f"killed {moment} ({nth})"


# `--prune` makes many requests, of which each is done or not: what is left of them only another prune does.
# Cut off, a prune is done in part, and a pg to be checked out has no data, which its next start makes anew.
IN_PARTS = ("up with prune", "check out what is stopped")


@pytest.mark.parametrize("case", [one for one in CASES if one not in IN_PARTS])
def test_up_finishes_a_request_that_was_cut_off_anywhere_or_undoes_it(case: str) -> None:
    before, request = CASES[case]
    shape_before, shape_after, _ = worlds(case)
    for moment, nth in each_moment(case):
        with world(before) as fixture:
            killed_at(fixture, request, moment, nth)
            site = arrived(fixture)
            up(_config(fixture))(site)
            found = settled(fixture, site)
            assert found in (shape_before, shape_after), f"killed {moment} ({nth})"
