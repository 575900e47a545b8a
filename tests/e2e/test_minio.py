"""The embedded MinIO: made by the controller, with a bucket and a user that can do nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from tests.e2e.conftest import StackMaker


def test_up_brings_a_minio_with_a_bucket_and_a_scoped_user(make_stack: StackMaker) -> None:
    stack = make_stack("minio: true\n")
    stack.up()
    (shown,) = [c for c in stack.json("status")["components"] if c["component"] == "minio"]
    assert (shown["state"], shown["healthy"]) == ("running", True)
    container = stack.container("minio")
    assert container.attrs["HostConfig"]["PortBindings"] in ({}, None)

    secrets = Path(stack.docker.volumes.get(f"{stack.name}_state").attrs["Mountpoint"]) / "secrets"
    user, password = ((secrets / f"minio_{what}").read_text() for what in ("user", "password"))
    root = (secrets / "minio_root_user").read_text()
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    client = Minio(f"{network['IPAddress']}:9000", user, password, secure=False)
    assert client.bucket_exists("neon")
    client.put_object("neon", "probe", io.BytesIO(b"x"), 1)
    client.remove_object("neon", "probe")
    with pytest.raises(S3Error) as refused:
        client.make_bucket("another")
    assert refused.value.code == "AccessDenied"
    assert user != root
    assert all(secret not in str(container.attrs) for secret in (user, password, root))
