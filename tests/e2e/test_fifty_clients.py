"""Fifty clients at one real controller for a minute (many in chaos): nobody is stuck, nothing breaks,
and at the end what the API says, what Docker has, what is written down and what is on disk are the same."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests import scale
from tests.clients import STORAGE, Clients, clear, problems_at_rest
from tests.e2e.stack import Stack, opens

PG_LABEL = "dev.neon-compose.pg"


def computes(stack: Stack) -> dict[str, bool]:
    return {one.labels[PG_LABEL]: one.status == "running" for one in stack.containers("compute")}


def volume(stack: Stack, name: str) -> Path:
    return Path(stack.docker.volumes.get(f"{stack.name}_{name}").attrs["Mountpoint"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.chaos
def test_fifty_clients_at_once(module_stack: Stack) -> None:
    stack = module_stack
    known = stack.client_file
    end_s = time.monotonic() + scale.amount(60, 600)
    clients = Clients(known["url"], known["token"], scale.seed())
    layers = names(volume(stack, "storage_main") / "layers")
    clients.run(lambda _: time.monotonic() < end_s)
    print(f"{clients.requests} requests")
    assert not clients.wrong, "\n".join(clients.wrong) + stack.logs()
    assert clients.requests >= 50  # each had an answer, however slow the machine is

    with stack.http() as http:
        assert problems_at_rest(http, computes(stack)) == []
        pgs = {one["name"]: one for one in http.get("/pgs").json()}
        assert names(volume(stack, "state") / "pgs") == sorted(f"{name}.json" for name in pgs)
        for name, pg in pgs.items():
            document = json.loads((volume(stack, "state") / "pgs" / f"{name}.json").read_text())
            assert (document["wanted"] == "running") == (pg["state"] == "running"), name
            if pg["state"] == "running":
                assert opens(http.get(f"/pgs/{name}/url").json()["url"]), name
        assert set(names(volume(stack, "work_main") / "pg")) <= pgs.keys()
        assert clients_agree(stack)

        clear(http)
        assert [one["name"] for one in http.get("/pgs").json()] == ["main"]
        assert [one["name"] for one in http.get(f"/storages/{STORAGE}/branches").json()] == ["main"]
    assert computes(stack) == {"main": True}
    assert opens(stack.url("main"))
    work, tree = volume(stack, "work_main"), volume(stack, "storage_main")
    assert names(work / "pg") == ["main"]
    assert names(work / "scratch") == []
    assert names(tree / "layers") == layers
    assert names(volume(stack, "state") / "pgs") == ["main.json"]
    stack.wait_until(only_main_is_left, tree / "branches")  # once safekeepers have forgotten the others
    stack.wait_until(no_probes, stack)


def clients_agree(stack: Stack) -> bool:
    """The command line sees the same pgs as Docker."""
    return {one["name"] for one in stack.json("pg", "list")} >= computes(stack).keys()


def only_main_is_left(branches: Path) -> bool:
    return len(names(branches)) == 1


def no_probes(stack: Stack) -> bool:
    """No container is left that is none of the stack's components."""
    return all("dev.neon-compose.component" in one.labels for one in stack.containers())
