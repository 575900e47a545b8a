"""Several stacks on one engine: same pg names, ports and networks of their own, nobody else's business."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack


def test_three_stacks_started_at_the_same_moment_share_nothing(make_stack: StackMaker) -> None:
    stacks = [make_stack(Stack.SMALL) for _ in range(3)]
    with ThreadPoolExecutor(3) as crowd:
        urls = list(crowd.map(Stack.up, stacks))
    assert len(set(urls)) == 3
    for n, stack in enumerate(stacks):
        stack.sql("main", f"create table mine as select {n} as n")
    assert [stack.sql("main", "select n from mine") for stack in stacks] == [[(0,)], [(1,)], [(2,)]]
    assert len({stack.client_file["url"] for stack in stacks}) == 3
    networks = [stack.docker.networks.get(f"{stack.name}_net") for stack in stacks]
    assert len({network.attrs["IPAM"]["Config"][0]["Subnet"] for network in networks}) == 3

    first, *others = stacks
    before = [[one.id for one in stack.containers()] for stack in others]
    first.cli("down", "-v", "--yes")
    assert first.leftovers() == []
    assert [[one.id for one in stack.containers()] for stack in others] == before
    assert [stack.sql("main", "select n from mine") for stack in others] == [[(1,)], [(2,)]]
    assert [stack.up() for stack in others] == urls[1:]


def test_one_token_does_not_open_another_stack(make_stack: StackMaker) -> None:
    mine, other = make_stack("minio: false\nstorages: {}\npgs: {}\n"), make_stack("minio: false\npgs: {}\n")
    mine.cli("up", "-d")
    other.cli("up", "-d")
    with mine.http() as http:
        assert http.get("/pgs").status_code == 200
        assert http.get(f"{other.client_file['url']}/pgs").status_code == 401
