"""The embedded MinIO: made by the controller, with a bucket and a user that can do nothing else."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack


@pytest.fixture
def stack(make_stack: StackMaker) -> Stack:
    stack = make_stack("minio: true\n")
    stack.up()
    return stack


def is_healthy(stack: Stack) -> bool:
    """As status shows it."""
    (shown,) = [c for c in stack.json("status")["components"] if c["component"] == "minio"]
    return (shown["state"], shown["healthy"]) == ("running", True)


def secret(stack: Stack, what: str) -> str:
    folder = Path(stack.docker.volumes.get(f"{stack.name}_state").attrs["Mountpoint"]) / "secrets"
    return (folder / f"minio_{what}").read_text()


def client_of(stack: Stack) -> Minio:
    """As the user that the controller made for the bucket."""
    (network,) = stack.container("minio").attrs["NetworkSettings"]["Networks"].values()
    return Minio(
        f"{network['IPAddress']}:9000", secret(stack, "user"), secret(stack, "password"), secure=False
    )


def test_up_brings_a_minio_with_a_bucket_and_a_scoped_user(stack: Stack) -> None:
    assert is_healthy(stack)
    container = stack.container("minio")
    assert container.attrs["HostConfig"]["PortBindings"] in ({}, None)
    client = client_of(stack)
    assert client.bucket_exists("neon")
    client.put_object("neon", "probe", io.BytesIO(b"x"), 1)
    client.remove_object("neon", "probe")
    with pytest.raises(S3Error) as refused:
        client.make_bucket("another")
    assert refused.value.code == "AccessDenied"
    secrets = [secret(stack, what) for what in ("user", "password", "root_user")]
    assert len(set(secrets)) == 3
    assert all(each not in str(container.attrs) for each in secrets)


@pytest.mark.parametrize("attack", ["kill", "remove"])
def test_up_brings_a_dead_minio_back_with_its_objects(stack: Stack, attack: str) -> None:
    client_of(stack).put_object("neon", "kept", io.BytesIO(b"what was put"), 12)
    minio = stack.container("minio")
    if attack == "kill":
        os.kill(minio.attrs["State"]["Pid"], signal.SIGKILL)
    else:
        minio.remove(force=True)
    stack.up()
    assert is_healthy(stack)
    assert client_of(stack).get_object("neon", "kept").read() == b"what was put"
