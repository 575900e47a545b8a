from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from neon_compose.controller import pgs, pods
from neon_compose.engine.runtime import ContainerSpec, Kind, Publish
from neon_compose.errors import Conflict
from neon_compose.model.states import PgState
from neon_compose.wire.rest import PgAction, PgIn, PgOut, PgVerb
from tests.site import Fixture

START = PgAction(action=PgVerb.START)


def create(fixture: Fixture, name: str, port: int | None = None, *, start: bool = False) -> PgOut:
    request = PgIn(name=name, storage_name="shop", from_="shop@init", port=port, start=start)
    found = pgs.put(fixture.site, request)
    assert isinstance(found, tuple)
    return found[0]


def listens(port: int) -> str:
    return f"0: 0100007F:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 1 1"


def test_a_pod_takes_the_next_16_ports_that_nobody_has(bare: Fixture) -> None:
    bare.engine.host_view = [listens(15433)]
    foreign = ContainerSpec(name="other_pod_0", image="x", publish=(Publish(15440),))
    bare.engine.create(foreign)
    bare.engine.start(foreign.name)
    pods.top_up(bare.site)
    (pod,) = bare.site.snapshot().pods()
    assert pod.ports == tuple(range(15441, 15457))
    spec = bare.engine.boxes["t_pod_0"].spec
    assert spec.sysctls == {"net.ipv4.ip_local_reserved_ports": "15441-15456"}
    assert spec.ip == "10.213.0.10"


def test_somebody_who_took_a_port_meanwhile_costs_another_block(bare: Fixture) -> None:
    bare.engine.taken = {15435}
    pods.top_up(bare.site)
    (pod,) = bare.site.snapshot().pods()
    assert pod.ports == tuple(range(15436, 15452))


def test_pgs_get_the_lowest_free_port(shop: Fixture) -> None:
    assert [create(shop, name).port for name in ("a", "b", "c")] == [15432, 15433, 15434]
    pgs.destroy(shop.site, "b", discard_writes=False)
    assert create(shop, "d").port == 15433


def test_a_port_inside_a_pod_is_had_from_it(shop: Fixture) -> None:
    assert create(shop, "a", 15440).pod == "t_pod_0"
    assert create(shop, "b").port == 15432


def test_a_port_outside_of_pods_gets_one_of_its_own_that_goes_with_the_pg(shop: Fixture) -> None:
    assert create(shop, "a", 16200).pod == "t_pod_1"
    pgs.destroy(shop.site, "a", discard_writes=False)
    assert "t_pod_1" not in shop.engine.boxes


def test_a_port_of_another_pg_names_that(shop: Fixture) -> None:
    create(shop, "a", 15440)
    with pytest.raises(Conflict, match='port 15440 is taken by pg "a"'):
        create(shop, "b", 15440)
    assert create(shop, "a", 15440).port == 15440


def test_a_port_of_somebody_else_names_the_owner_and_leaves_nothing(shop: Fixture) -> None:
    foreign = ContainerSpec(name="web", image="x", publish=(Publish(16200),))
    shop.engine.create(foreign)
    shop.engine.start("web")
    before = shop.world()
    with pytest.raises(Conflict, match='port 16200 is taken by container "web"'):
        create(shop, "a", 16200)
    assert shop.world() == before
    shop.engine.taken = {16201}
    with pytest.raises(Conflict, match="port 16201 is taken by another process"):
        create(shop, "a", 16201)
    assert shop.world() == before


def test_twenty_pgs_made_at_once_have_twenty_ports_in_two_pods(shop: Fixture) -> None:
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda n: create(shop, f"p{n}", start=True), range(20)))
    assert len({one.port for one in found}) == 20
    assert {one.pod for one in found} == {"t_pod_0", "t_pod_1"}


def test_removed_pods_come_back_with_the_ports_of_the_documents(shop: Fixture) -> None:
    create(shop, "a", 15440)
    create(shop, "b", 16200)
    for name in ("t_pod_0", "t_pod_1"):
        shop.engine.remove(Kind.CONTAINER, name)
    assert pods.restore(shop.site, shop.site.documents.read().pgs.values()) == {}
    found = {port: shop.site.snapshot().pod_of(port) for port in (15440, 16200)}
    assert {port: len(pod.ports) if pod else 0 for port, pod in found.items()} == {15440: 16, 16200: 1}


def test_a_port_lost_meanwhile_costs_its_pg_and_no_other(shop: Fixture) -> None:
    create(shop, "a", 15440)
    create(shop, "b", 15441)
    shop.engine.stop("t_pod_0", 1)
    shop.engine.taken = {15434, 15440}
    failed = pods.restore(shop.site, shop.site.documents.read().pgs.values())
    assert list(failed) == ["a"]
    assert "15440" in failed["a"].message
    snap = shop.site.snapshot()
    assert snap.pod_of(15441) is not None
    assert snap.pod_of(15440) is None
    assert snap.pod_of(15434) is None
    with pytest.raises(Conflict, match="15440"):
        pgs.act(shop.site, "a", START)
    shop.engine.taken = set()
    pgs.act(shop.site, "a", START)
    assert shop.engine.running("t_pg_a")


def test_a_compute_that_its_restarted_pod_left_without_network_is_shown_as_failed(shop: Fixture) -> None:
    create(shop, "a", start=True)
    shop.engine.stop("t_pod_0", 1)
    shop.engine.start("t_pod_0")
    assert pgs.show(shop.site, "a").state is PgState.FAILED


def test_a_failed_pg_says_what_happened_and_what_brings_it_back(shop: Fixture) -> None:
    create(shop, "a", start=True)
    shop.engine.leave_networks("t_pod_0")
    assert "cut off its network: neon-compose pg start a" in (pgs.show(shop.site, "a").note or "")
    shop.engine.end("t_pg_a")
    assert "its container is exited" in (pgs.show(shop.site, "a").note or "")
    shop.engine.remove(Kind.CONTAINER, "t_pg_a")
    assert "its container is gone" in (pgs.show(shop.site, "a").note or "")


def test_a_pod_that_was_taken_out_of_its_network_is_made_anew(shop: Fixture) -> None:
    create(shop, "a", start=True)
    shop.engine.leave_networks("t_pod_0")
    assert pgs.show(shop.site, "a").state is PgState.FAILED
    pgs.act(shop.site, "a", START)
    assert pgs.show(shop.site, "a").state is PgState.RUNNING
    pod = shop.site.snapshot().pod_of(15432)
    assert pod is not None
    assert pod.ip


def test_a_paused_pod_goes_on_and_costs_nobody_a_restart(shop: Fixture) -> None:
    create(shop, "a", start=True)
    before = shop.engine.boxes["t_pg_a"].id
    shop.engine.pause("t_pod_0")
    pgs.act(shop.site, "a", START)
    assert shop.engine.running("t_pod_0")
    assert shop.engine.boxes["t_pg_a"].id == before


def test_a_restarted_pod_costs_its_computes_a_restart(shop: Fixture) -> None:
    create(shop, "a", start=True)
    before = shop.engine.boxes["t_pg_a"].id
    shop.engine.stop("t_pod_0", 1)
    shop.engine.start("t_pod_0")
    pgs.act(shop.site, "a", START)
    assert shop.engine.running("t_pg_a")
    assert shop.engine.boxes["t_pg_a"].id != before


def test_a_port_is_kept_from_others_until_its_compute_is_restarted(shop: Fixture) -> None:
    create(shop, "a", start=True)
    assert create(shop, "a", 15447, start=True).restart_needed
    assert create(shop, "b").port == 15433
    pgs.act(shop.site, "a", PgAction(action=PgVerb.RESTART))
    assert create(shop, "c").port == 15432


def test_the_pod_of_a_port_that_was_left_goes_with_the_restart(shop: Fixture) -> None:
    create(shop, "a", 16200, start=True)
    create(shop, "a", 16201)
    assert shop.engine.running("t_pod_1")
    pgs.act(shop.site, "a", PgAction(action=PgVerb.RESTART))
    snap = shop.site.snapshot()
    assert snap.pod_of(16200) is None
    assert snap.pod_of(16201) is not None


def test_idle_pods_go_but_for_one(shop: Fixture) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: create(shop, f"p{n}"), range(40)))
    assert len(shop.site.snapshot().pods()) >= 3
    for number in range(1, 40):
        pgs.destroy(shop.site, f"p{number}", discard_writes=False)
    pods.trim(shop.site)
    snap = shop.site.snapshot()
    assert snap.pod_of(snap.pg("p0").port) is not None
    idle = [pod for pod in snap.pods() if set(pod.ports) <= set(snap.free_ports())]
    assert len(idle) == 1
    assert shop.site.reserved_ports == set()
