from neon_compose.engine.bodies import container_body, network_body
from neon_compose.engine.runtime import ContainerSpec, Mount, NetworkSpec, Publish

SPEC = ContainerSpec(
    name="t_pod_0",
    image="base:1",
    command=("sleep", "infinity"),
    env={"A": "1"},
    mounts=(Mount("vol", "/v"), Mount("/host/x", "/x", read_only=True)),
    network="t_net",
    ip="10.0.0.10",
    aliases=("pod",),
    publish=(Publish(15432),),
    stop_signal="SIGINT",
    stop_timeout_s=60,
    shm_bytes=1 << 30,
    read_only=True,
)


def test_a_container_body_says_all_that_the_spec_does() -> None:
    body = container_body(SPEC)
    host = body["HostConfig"]
    assert (body["Cmd"], body["Env"], body["StopSignal"], body["StopTimeout"]) == (
        ["sleep", "infinity"],
        ["A=1"],
        "SIGINT",
        60,
    )
    assert host["Mounts"] == [
        {"Type": "volume", "Source": "vol", "Target": "/v", "ReadOnly": False},
        {"Type": "bind", "Source": "/host/x", "Target": "/x", "ReadOnly": True},
    ]
    assert host["PortBindings"] == {"15432/tcp": [{"HostIp": "127.0.0.1", "HostPort": "15432"}]}
    assert body["ExposedPorts"] == {"15432/tcp": {}}
    assert host["ShmSize"] == 1 << 30
    assert body["NetworkingConfig"]["EndpointsConfig"] == {
        "t_net": {"Aliases": ["pod"], "IPAMConfig": {"IPv4Address": "10.0.0.10"}}
    }


def test_every_container_is_unprivileged_with_an_init_and_bounded_logs_and_processes() -> None:
    body = container_body(ContainerSpec(name="a", image="b"))
    host = body["HostConfig"]
    assert body["User"] == "10001:10001"
    assert (host["CapDrop"], host["SecurityOpt"], host["Init"]) == (["ALL"], ["no-new-privileges"], True)
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert host["RestartPolicy"] == {"Name": "no"}
    assert host["PidsLimit"] == 4096


def test_a_container_in_anothers_namespace_has_no_network_of_its_own() -> None:
    body = container_body(ContainerSpec(name="a", image="b", network_of="t_pod_0"))
    assert body["HostConfig"]["NetworkMode"] == "container:t_pod_0"
    assert "NetworkingConfig" not in body


def test_a_network_has_an_explicit_subnet_and_a_part_for_unfixed_addresses() -> None:
    body = network_body(NetworkSpec("t_net", "10.1.2.0/24", "10.1.2.128/25"))
    assert body["IPAM"]["Config"] == [{"Subnet": "10.1.2.0/24", "IPRange": "10.1.2.128/25"}]
    assert body["CheckDuplicate"] is True
