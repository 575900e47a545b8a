"""WAL received, cut and walked, with Postgres 17 itself (inside.py has the cases)."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from neon_compose.engine import images
from tests import scale
from tests.wal import clock_cases
from tests.wal.inside import CASES

HERE = Path(__file__).parent
ROOT = "/wal"


NEED_A_COMPILER = {case.__name__ for case in clock_cases.CASES}


def _archive(library: Path) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path in (HERE.parent / "__init__.py", *HERE.glob("*.py")):
            tar.add(path, f"wal/{path.relative_to(HERE.parent.parent)}")
        if shutil.which("gcc"):
            flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC"]
            subprocess.run(["gcc", *flags, "-o", str(library), str(HERE / "clock.c")], check=True)
            tar.add(library, f"wal/tests/wal/{clock_cases.LIBRARY}")
    return raw.getvalue()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What went wrong in each case; all run in one container, without a network."""
    ours = images.ensure(("safekeeper",), lambda *_, **__: None)
    with closing(docker.from_env(timeout=3600)) as client:
        container = client.containers.create(
            ours["safekeeper"],
            entrypoint=["/opt/neon/bin/python", "-m", "tests.wal.inside"],
            command=["/safekeeper", "/small", str(scale.amount(6, 300)), str(scale.seed())],
            working_dir=ROOT,
            network_mode="none",
            init=True,
            volumes=["/safekeeper"],
            tmpfs={"/small": "size=16m,uid=10001,gid=10001,mode=0700"},
        )
        try:
            container.put_archive("/", _archive(tmp_path_factory.mktemp("clock") / clock_cases.LIBRARY))
            container.start()
            container.wait()
            said = container.logs(stdout=False).decode(errors="replace")
            answer = container.logs(stderr=False).decode(errors="replace")
        finally:
            container.remove(v=True, force=True)
    print(said[-6000:])
    assert answer, said[-6000:]
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    return found


@pytest.mark.docker
@pytest.mark.chaos
@pytest.mark.timeout(scale.amount(300, 14400))
@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_wal(results: dict[str, Any], case: str) -> None:
    if case in NEED_A_COMPILER and not shutil.which("gcc"):
        pytest.skip("no C compiler here")
    assert results[case] is None, results[case]
