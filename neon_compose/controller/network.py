"""The stack's network: a /24 that overlaps neither the machine's routes nor another network.

The engine's machine is seen through a probe container in its network namespace, which reads what the
kernel shows in /proc/net: routes, and ports somebody listens on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from neon_compose.controller import specs
from neon_compose.controller.probe import run_probe
from neon_compose.engine.runtime import ContainerSpec, Engine, Kind
from neon_compose.errors import Conflict, Unavailable

_POOLS = ("10.213.0.0/16", "172.29.0.0/16", "192.168.192.0/18")
_LISTEN = "0A"  # include/net/tcp_states.h
_RTF_UP = 1
_HEADS = ("Iface", "sl")
_FILES = ("/proc/net/route", "/proc/net/tcp", "/proc/net/tcp6")
_ATTEMPTS = 20


@dataclass(frozen=True)
class HostView:
    """What the engine's machine has: IPv4 routes (not the default one), and listening TCP ports."""

    routes: tuple[IPv4Network, ...] = ()
    listening: frozenset[int] = frozenset()


def look_at_host(engine: Engine, stack: str, image: str) -> HostView:
    """One probe container, about a third of a second."""
    probe = ContainerSpec(
        name="", image=image, entrypoint=("/bin/cat",), command=_FILES, network="host", read_only=True
    )
    return parse_host_view(run_probe(engine, stack, probe))


def parse_host_view(lines: Iterable[str]) -> HostView:
    """The files of /proc/net one after the other, as `cat` prints them."""
    routes: list[IPv4Network] = []
    listening: set[int] = set()
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or fields[0] in _HEADS:
            continue
        _, colon, port = fields[1].rpartition(":")
        if not colon:
            routes += _route(fields)
        elif fields[3] == _LISTEN:
            listening.add(int(port, 16))
    return HostView(tuple(routes), frozenset(listening))


def _route(fields: list[str]) -> Iterator[IPv4Network]:
    """Iface Destination Gateway Flags RefCnt Use Metric Mask …; addresses are little-endian hex."""
    address, mask = (bytes.fromhex(fields[at])[::-1] for at in (1, 7))
    if int(fields[3], 16) & _RTF_UP and any(mask):
        bits = int.from_bytes(mask, "big").bit_count()
        yield IPv4Network((int.from_bytes(address, "big"), bits), strict=False)


def free_subnets(view: HostView, others: Iterable[str]) -> Iterator[IPv4Network]:
    """Candidates in a fixed order, without what overlaps the machine's routes or `others`."""
    nets = (ip_network(text, strict=False) for text in others)
    taken = [*view.routes, *(net for net in nets if isinstance(net, IPv4Network))]
    for pool in _POOLS:
        for subnet in IPv4Network(pool).subnets(new_prefix=24):
            if not any(subnet.overlaps(other) for other in taken):
                yield subnet


def ensure_network(engine: Engine, stack: str, image: str, me: str | None) -> IPv4Network:
    """The stack's network with the controller in it, made in a free subnet if it isn't there."""
    members = {me: ("controller",)} if me else {}
    networks = engine.observe(None, (Kind.NETWORK,)).networks
    name = specs.network_name(stack)
    mine = next((one for one in networks if one.name == name and one.subnets), None)
    if mine is not None:
        subnet = IPv4Network(mine.subnets[0])
        engine.ensure_network(specs.network_spec(stack, subnet, members))
        return subnet
    view = look_at_host(engine, stack, image)
    candidates = free_subnets(view, (text for one in networks for text in one.subnets))
    for _, subnet in zip(range(_ATTEMPTS), candidates, strict=False):
        try:
            engine.ensure_network(specs.network_spec(stack, subnet, members))
            return subnet
        except Conflict as error:
            if error.code != "subnet_taken":  # somebody was faster, or the engine knows more than we saw
                raise
    raise Unavailable(
        "no free subnet was found for the stack's network",
        detail=f"Looked for a /24 in {', '.join(_POOLS)}.",
        code="no_subnet",
    )
