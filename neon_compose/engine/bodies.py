"""Request bodies of the Docker Engine API (1.41) for our specs. Pure."""

from __future__ import annotations

from typing import Any

from neon_compose.engine.runtime import ContainerSpec, Mount, NetworkSpec

_LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def container_body(spec: ContainerSpec) -> dict[str, Any]:
    """POST /containers/create."""
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.command) or None,
        "Env": [f"{key}={value}" for key, value in spec.env.items()],
        "Labels": dict(spec.labels),
        "User": spec.user,
        "ExposedPorts": {f"{one.port}/tcp": {} for one in spec.publish},
        "HostConfig": _host_config(spec),
    }
    if spec.entrypoint is not None:
        body["Entrypoint"] = list(spec.entrypoint)
    if spec.stop_signal is not None:
        body["StopSignal"] = spec.stop_signal
    if spec.stop_timeout_s is not None:
        body["StopTimeout"] = spec.stop_timeout_s
    if spec.network not in (None, "host", "none"):
        end: dict[str, Any] = {"Aliases": list(spec.aliases)}
        if spec.ip is not None:
            end["IPAMConfig"] = {"IPv4Address": spec.ip}
        body["NetworkingConfig"] = {"EndpointsConfig": {spec.network: end}}
    return body


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    config: dict[str, Any] = {
        "NetworkMode": f"container:{spec.network_of}" if spec.network_of else spec.network or "default",
        "Mounts": [_mount(one) for one in spec.mounts],
        "Tmpfs": dict(spec.tmpfs),
        "PortBindings": {
            f"{one.port}/tcp": [{"HostIp": one.address, "HostPort": str(one.host_port or one.port)}]
            for one in spec.publish
        },
        "Sysctls": dict(spec.sysctls),
        "GroupAdd": list(spec.group_add),
        "CapDrop": ["ALL"],
        "CapAdd": list(spec.cap_add),
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": spec.read_only,
        "Init": spec.init,
        "PidsLimit": spec.processes,
        "RestartPolicy": {"Name": spec.restart},
        "LogConfig": _LOGS,
    }
    if spec.shm_bytes is not None:
        config["ShmSize"] = spec.shm_bytes
    return config


def _mount(mount: Mount) -> dict[str, Any]:
    kind = "bind" if mount.is_bind else "volume"
    return {"Type": kind, "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def network_body(spec: NetworkSpec) -> dict[str, Any]:
    """POST /networks/create. CheckDuplicate: two networks of one name would be legal without it."""
    pool = {"Subnet": spec.subnet} | ({"IPRange": spec.dynamic} if spec.dynamic else {})
    return {
        "Name": spec.name,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "Labels": dict(spec.labels),
        "IPAM": {"Driver": "default", "Config": [pool]},
    }
