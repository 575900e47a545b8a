"""Opening moments with real Postgres: what runs is inside.py, in one container for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from neon_compose.compute.paths import SHIM_IN_CONTAINER
from neon_compose.engine import images
from tests import scale
from tests.boxed import archive
from tests.moment import collected, inside

HERE = Path(__file__).parent
TESTS = HERE.parent
INSIDE = "/moment"
_STEPS = ("make", "redo_once")  # of other scenarios
_PARTS = ("moment", "power")  # of the tests, whose modules inside.py imports


@pytest.fixture(scope="module")
def world() -> Iterator[Any]:
    """A container with a layer, a parent's WAL and what was noted of its moments."""
    ours = images.ensure(("pageserver",), lambda *_, **__: None)
    with closing(docker.from_env(timeout=3600)) as client:
        files = {
            "moment/tests/__init__.py": b"",
            **{
                f"moment/tests/{part}/{path.name}": path.read_bytes()
                for part in _PARTS
                for path in (TESTS / part).glob("*.py")
            },
        }
        container = client.containers.create(
            ours["pageserver"],
            entrypoint=["sleep", "infinity"],
            working_dir=INSIDE,
            network_mode="none",
            init=True,
            volumes=["/work"],
        )
        try:
            container.put_archive("/", archive(files))
            container.start()
            run(container, "make")
            yield container
        finally:
            container.remove(v=True, force=True)


def run(container: Any, scenario: str) -> None:
    shim = str(SHIM_IN_CONTAINER)
    command = ["/opt/neon/bin/python", "-m", "tests.moment.inside", "/work", shim, scenario]
    chance = {collected.SEED: str(scale.seed()), collected.DEEDS: str(scale.amount(60, 1500))}
    status, said = container.exec_run(command, workdir=INSIDE, environment=chance)
    print(said.decode(errors="replace")[-8000:])
    assert status == 0, f"{scenario} ended with {status}"


CHANCE = "redo_folds_and_collection"
SCENARIOS = [name for name in inside.SCENARIOS if name not in (*_STEPS, CHANCE)]
REDO, DIFF = ([name for name in SCENARIOS if name.startswith(word)] for word in ("redo", "diff"))


@pytest.mark.docker
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in (*REDO, *DIFF)])
def test_a_moment_opens_as_it_was_or_not_at_all(world: Any, scenario: str) -> None:
    run(world, scenario)


@pytest.mark.docker
@pytest.mark.parametrize("scenario", REDO)
def test_a_redo_job_makes_a_layer_of_all_that_changed_or_none(world: Any, scenario: str) -> None:
    run(world, scenario)


@pytest.mark.docker
@pytest.mark.parametrize("scenario", DIFF)
def test_a_diff_says_what_differs_and_leaves_nothing(world: Any, scenario: str) -> None:
    run(world, scenario)


@pytest.mark.docker
@pytest.mark.chaos
def test_moments_of_chance_open_whatever_became_of_layers(world: Any) -> None:
    run(world, CHANCE)
