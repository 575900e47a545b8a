from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path

from neon_compose.controller.network import ensure_network, free_subnets, parse_host_view
from neon_compose.engine.runtime import NetworkSpec
from tests.fakes import FakeEngine
from tests.site import IMAGES

PROC = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0111A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t0080FFFF\t0\t0\t0
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3C48 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1538 0100007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
""".splitlines()


def test_routes_and_listening_ports_are_read_from_proc() -> None:
    view = parse_host_view(PROC)
    assert view.routes == (IPv4Network("172.17.0.0/16"), IPv4Network("10.213.0.0/17"))
    assert view.listening == {15432, 8080}


def test_a_subnet_overlaps_neither_routes_nor_networks() -> None:
    view = parse_host_view(PROC)
    found = list(islice(free_subnets(view, ["10.213.128.0/24", "10.213.129.128/25", "fd00::/64"]), 2))
    assert found == [IPv4Network("10.213.130.0/24"), IPv4Network("10.213.131.0/24")]


def test_the_network_is_made_in_a_free_subnet_and_kept(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    engine.host_view = PROC
    engine.ensure_network(NetworkSpec("foreign", "10.213.128.0/24"))
    first = ensure_network(engine, "t", IMAGES["base"], None)
    assert first == IPv4Network("10.213.129.0/24")
    engine.host_view = []
    assert ensure_network(engine, "t", IMAGES["base"], None) == first
    assert engine.boxes == {}
