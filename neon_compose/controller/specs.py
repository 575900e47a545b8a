"""The containers, volumes and network of a stack as specs: what each is given, and nothing more. Pure.

Names join the stack and the resource with `_`, which no name contains. Every spec carries its own hash
as a label, by which an outdated container is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from neon_compose.controller.desired import PgDoc, StorageDoc
from neon_compose.controller.ports import Ports, format_ports
from neon_compose.engine import labels as label
from neon_compose.engine.labels import component_labels, resource_labels, spec_hash
from neon_compose.engine.runtime import ContainerSpec, Mount, NetworkSpec, Publish, VolumeSpec
from neon_compose.model.history import parse_age, parse_size
from neon_compose.model.states import Component
from neon_compose.wire.pageserver import Prepared

PAGESERVER_STOP_S = 60
SAFEKEEPER_STOP_S = 30
COMPUTE_STOP_S = 60
MINIO_STOP_S = 30
_SHM_BYTES = 1 << 30  # Docker's 64 MB break parallel hash joins
_TMP = {"/tmp": "rw,size=256m,mode=1777"}
# .1 is the gateway, .2 to .9 are safekeepers, then pods; unfixed addresses come from the upper half.
_FIRST_SAFEKEEPER_IP = 2
_FIRST_POD_IP = 10
_POD_IPS = 118


@dataclass(frozen=True)
class Secret:
    """A secret's file on the engine's machine, mounted read-only at /run/secrets/<name>."""

    source: str
    name: str

    @property
    def mount(self) -> Mount:
        return Mount(self.source, self.target, read_only=True)

    @property
    def target(self) -> str:
        return f"/run/secrets/{self.name}"


def network_name(stack: str) -> str:
    return f"{stack}_net"


def state_volume(stack: str) -> str:
    return f"{stack}_state"


def network_spec(stack: str, subnet: IPv4Network, members: Mapping[str, tuple[str, ...]]) -> NetworkSpec:
    """Fixed addresses of safekeepers and pods lie in the lower half, all others come from the upper."""
    upper = list(subnet.subnets(1))[1]
    return NetworkSpec(network_name(stack), str(subnet), str(upper), resource_labels(stack), members)


def storage_volume(stack: str, storage: str) -> VolumeSpec:
    return VolumeSpec(f"{stack}_storage_{storage}", resource_labels(stack, storage=storage))


def work_volume(stack: str, storage: str) -> VolumeSpec:
    return VolumeSpec(f"{stack}_work_{storage}", resource_labels(stack, storage=storage))


def safekeeper_volume(stack: str, number: int) -> VolumeSpec:
    return VolumeSpec(f"{stack}_safekeeper_{number}", resource_labels(stack, safekeeper=str(number)))


def minio_volume(stack: str) -> VolumeSpec:
    return VolumeSpec(f"{stack}_minio", resource_labels(stack))


def pageserver_name(stack: str, storage: str) -> str:
    return f"{stack}_storage_{storage}"


def pageserver_spec(
    stack: str, doc: StorageDoc, image: str, token: Secret, safekeepers: int
) -> ContainerSpec:
    """`safekeepers`: how many the stack has."""
    tree = doc.host_path or storage_volume(stack, doc.name).name
    return _hashed(
        ContainerSpec(
            name=pageserver_name(stack, doc.name),
            image=image,
            component=Component.PAGESERVER,
            labels=component_labels(stack, Component.PAGESERVER, storage=doc.name),
            env={
                "NEON_STACK": stack,
                "NEON_STORAGE_NAME": doc.name,
                "NEON_STORAGE_AT": tree,  # for errors: what people know the mounts as
                "NEON_WORK_AT": work_volume(stack, doc.name).name,
                "NEON_TOKEN_FILE": token.target,
                "NEON_POSTGRES_MAJOR": "17",
                "NEON_SAFEKEEPERS": ",".join(map(safekeeper_host, range(1, safekeepers + 1))),
                "NEON_HISTORY_SECONDS": str(int(parse_age(doc.history).total_seconds())),
                "NEON_HISTORY_BYTES": str(parse_size(doc.history_size)),
            },
            mounts=(
                Mount(tree, "/storage"),
                Mount(work_volume(stack, doc.name).name, "/work"),
                token.mount,
            ),
            tmpfs={**_TMP, "/run/neon": "rw,size=16m,mode=1777"},
            network=network_name(stack),
            aliases=(f"storage-{doc.name}",),
            read_only=True,
            shm_bytes=_SHM_BYTES,
            stop_timeout_s=PAGESERVER_STOP_S,
        )
    )


def safekeeper_name(stack: str, number: int) -> str:
    return f"{stack}_safekeeper_{number}"


def safekeeper_host(number: int) -> str:
    """Its name in the stack's network."""
    return f"safekeeper-{number}"


def safekeeper_spec(stack: str, number: int, image: str, subnet: IPv4Network, token: Secret) -> ContainerSpec:
    """Commits wait for it: when it dies, or the machine restarts, the engine starts it again without being
    asked. Its address is fixed, so that computes and pageservers find it where it was."""
    volume = safekeeper_volume(stack, number).name
    return _hashed(
        ContainerSpec(
            name=safekeeper_name(stack, number),
            image=image,
            component=Component.SAFEKEEPER,
            labels=component_labels(stack, Component.SAFEKEEPER, safekeeper=str(number)),
            env={
                "NEON_STACK": stack,
                "NEON_SAFEKEEPER_AT": volume,  # for errors: what people know the mount as
                "NEON_TOKEN_FILE": token.target,
                "NEON_POSTGRES_MAJOR": "17",
            },
            mounts=(Mount(volume, "/safekeeper"), token.mount),
            tmpfs=_TMP,
            network=network_name(stack),
            ip=str(subnet[_FIRST_SAFEKEEPER_IP + number - 1]),
            aliases=(safekeeper_host(number),),
            read_only=True,
            restart="unless-stopped",
            stop_timeout_s=SAFEKEEPER_STOP_S,
        )
    )


def pod_spec(
    stack: str, number: int, ports: Ports, image: str, subnet: IPv4Network, bind: str
) -> ContainerSpec:
    """A container that only holds a namespace. Its ports are kept from outgoing connections by sysctl."""
    text = format_ports(ports)
    return _hashed(
        ContainerSpec(
            name=f"{stack}_pod_{number}",
            image=image,
            component=Component.POD,
            labels=component_labels(stack, Component.POD, pod=str(number), ports=text),
            command=("sleep", "infinity"),
            network=network_name(stack),
            ip=str(subnet[_FIRST_POD_IP + number % _POD_IPS]),
            publish=tuple(Publish(port, bind) for port in ports),
            sysctls={"net.ipv4.ip_local_reserved_ports": text},
            read_only=True,
            stop_timeout_s=1,
        )
    )


def compute_name(stack: str, pg: str) -> str:
    return f"{stack}_pg_{pg}"


@dataclass(frozen=True)
class ComputePlace:
    """Where a compute goes: the pod it joins, that one's address in the stack's network, and the engine-side
    folders it mounts."""

    pod: str
    pod_number: int
    ip: str
    endpoint: str
    work: str
    storage: str


def compute_spec(
    stack: str, doc: PgDoc, image: str, place: ComputePlace, prepared: Prepared
) -> ContainerSpec:
    data = f"{place.work}/pg/{doc.name}/{prepared.generation}"
    return _hashed(
        ContainerSpec(
            name=compute_name(stack, doc.name),
            image=image,
            component=Component.COMPUTE,
            labels=component_labels(
                stack,
                Component.COMPUTE,
                pg=doc.name,
                storage=doc.storage_name,
                pod=str(place.pod_number),
                ports=str(doc.port),
                endpoint=place.endpoint,
                durability=doc.durability,
                given=doc.given,
            ),
            command=tuple(prepared.command),
            mounts=(
                Mount(data, "/neon/pg"),
                Mount(f"{place.work}/maps", "/neon/maps", read_only=True),
                Mount(f"{place.storage}/layers", "/neon/layers", read_only=True),
            ),
            tmpfs=_TMP,
            network_of=place.pod,
            shm_bytes=_SHM_BYTES,
            read_only=True,
            stop_signal="SIGINT",
            stop_timeout_s=COMPUTE_STOP_S,
        )
    )


def minio_spec(stack: str, image: str, user: Secret, password: Secret) -> ContainerSpec:
    return _hashed(
        ContainerSpec(
            name=f"{stack}_minio",
            image=image,
            component=Component.MINIO,
            labels=component_labels(stack, Component.MINIO),
            command=("server", "/data", "--address", ":9000", "--console-address", ":9001"),
            env={
                "HOME": "/tmp",
                "MINIO_ROOT_USER_FILE": user.target,
                "MINIO_ROOT_PASSWORD_FILE": password.target,
            },
            mounts=(Mount(minio_volume(stack).name, "/data"), user.mount, password.mount),
            tmpfs=_TMP,
            network=network_name(stack),
            aliases=("minio",),
            read_only=True,
            stop_timeout_s=MINIO_STOP_S,
        )
    )


def _hashed(spec: ContainerSpec) -> ContainerSpec:
    return replace(spec, labels={**spec.labels, label.SPEC: spec_hash(spec)})
