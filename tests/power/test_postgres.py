"""Power cuts through Postgres: from each image it recovers, with every committed row and a clean amcheck."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from neon_compose.engine import images
from tests import scale
from tests.boxed import archive, shim_of
from tests.power import branch

HERE = Path(__file__).parent
INSIDE = "/power"


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with closing(docker.from_env(timeout=3600)) as client:
        yield client


@pytest.mark.docker
@pytest.mark.chaos
@pytest.mark.timeout(scale.amount(600, 7200))
def test_postgres_recovers_every_committed_row_from_any_power_cut(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    ours = images.ensure(("pageserver", "compute"), lambda *_, **__: None)
    files = {
        "power/tests/__init__.py": b"",
        **{f"power/tests/power/{path.name}": path.read_bytes() for path in HERE.glob("*.py")},
        "power/shim.so": shim_of(client, ours["compute"]),
        "power/recorder.so": branch.build_recorder(tmp_path).read_bytes(),
    }
    numbers = (scale.amount(40, 2000), scale.amount(300, 3000), scale.seed())
    container = client.containers.create(
        ours["pageserver"],
        entrypoint=["/opt/neon/bin/python", "-m", "tests.power.inside"],
        command=["/work", f"{INSIDE}/shim.so", f"{INSIDE}/recorder.so", *map(str, numbers)],
        working_dir=INSIDE,
        network_mode="none",
        init=True,
        volumes=["/work"],
    )
    try:
        container.put_archive("/", archive(files))
        container.start()
        status = container.wait()["StatusCode"]
        said = container.logs().decode(errors="replace")
    finally:
        container.remove(v=True, force=True)
    print(said)
    assert status == 0, said[-8000:]
