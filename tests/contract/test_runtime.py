"""What the controller relies on of an engine, on the fake one and on Docker."""

from __future__ import annotations

import io
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from neon_compose.engine import images
from neon_compose.engine import labels as label
from neon_compose.engine.docker import connect
from neon_compose.engine.labels import component_labels, resource_labels
from neon_compose.engine.runtime import (
    EVERYTHING,
    ContainerSpec,
    ContainerState,
    Engine,
    Kind,
    Mount,
    NetworkSpec,
    Publish,
    VolumeSpec,
)
from neon_compose.errors import Conflict, NotFound, TimedOut
from neon_compose.model.states import Component
from neon_compose.wait import Deadline, until
from tests.fakes import FakeEngine

SLEEP = ("sleep", "infinity")
TALK = ("sh", "-c", "echo one; echo two; exit 3")
SHORT = ("sh", "-c", "echo before; sleep 0.5; echo after")
ONCE = ("sh", "-c", "test -e /tmp/ran || { touch /tmp/ran; echo died; exit 1; }; echo back; sleep infinity")
CRASH = ("sh", "-c", "exit 1")
PORT = 16290
SUBNET = "10.249.77.0/24"


@pytest.fixture
def stack() -> str:
    return f"ctx{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest, stack: str, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "fake":
        fake = FakeEngine(Path("/"))
        fake.images = {"neon-compose-base:1"}
        programs = {TALK: (3, ["one", "two"]), SHORT: (0, ["before", "after"]), CRASH: (1, [])}
        fake.program = lambda spec: (
            died_once(fake, spec) if spec.command == ONCE else programs.get(spec.command)
        )
        yield fake
        return
    real = connect()
    yield real
    left = real.observe(stack, EVERYTHING)
    for kind, found in (
        (Kind.CONTAINER, left.containers),
        (Kind.NETWORK, left.networks),
        (Kind.VOLUME, left.volumes),
    ):
        for one in found:
            real.remove(kind, one.name)
    del tmp_path


@pytest.fixture
def image(engine: Engine) -> str:
    if isinstance(engine, FakeEngine):
        return "neon-compose-base:1"
    return images.ensure(("base",), lambda *_, **__: None)["base"]


@pytest.fixture
def spec(stack: str, image: str) -> ContainerSpec:
    return ContainerSpec(
        name=f"{stack}_pod_0",
        image=image,
        component=Component.POD,
        labels=component_labels(stack, Component.POD, pod="0", ports=str(PORT)),
        command=SLEEP,
        stop_timeout_s=1,
    )


def died_once(fake: FakeEngine, spec: ContainerSpec) -> tuple[int, list[str]] | None:
    """What ONCE does."""
    lines = fake.boxes[spec.name].lines
    if not lines:
        return 1, ["died"]
    lines.append("back")
    return None


def create_and_start(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(spec)
    engine.start(spec.name)


def pause(engine: Engine, name: str) -> None:
    """Nothing of ours pauses; somebody with `docker pause` may."""
    if isinstance(engine, FakeEngine):
        engine.pause(name)
        return
    with closing(docker.APIClient(version="auto")) as client:
        client.pause(name)


def test_a_created_container_is_observed_as_it_was_asked_for(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    engine.create(spec)
    (seen,) = engine.observe(stack).containers
    assert (seen.name, seen.image, seen.state) == (spec.name, spec.image, ContainerState.CREATED)
    assert seen.component is Component.POD
    assert seen.labels.items() >= spec.labels.items()
    assert seen.created_at is not None


def test_a_paused_container_goes_on_where_it_was(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    engine.ensure_network(NetworkSpec(f"{stack}_net", SUBNET, labels=resource_labels(stack)))
    create_and_start(engine, replace(spec, network=f"{stack}_net"))
    before = engine.observe(stack).container(spec.name)
    pause(engine, spec.name)
    paused = engine.observe(stack).container(spec.name)
    assert paused is not None
    assert paused.state is ContainerState.PAUSED
    engine.start(spec.name)
    assert engine.observe(stack).container(spec.name) == before
    pause(engine, spec.name)
    engine.stop(spec.name, 1)
    stopped = engine.observe(stack).container(spec.name)
    assert stopped is not None
    assert stopped.state is ContainerState.EXITED


def test_only_one_stack_is_observed(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    engine.create(spec)
    assert engine.observe(f"{stack}x").containers == ()
    assert spec.name in [one.name for one in engine.observe(None, (Kind.CONTAINER,)).containers]


def test_a_taken_name_is_a_conflict(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(spec)
    with pytest.raises(Conflict) as caught:
        engine.create(spec)
    assert caught.value.code == "exists"


def test_an_unknown_image_is_named(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    with pytest.raises(NotFound, match="nowhere:1") as caught:
        engine.create(replace(spec, image="nowhere:1"))
    assert caught.value.code == "image_missing"
    assert engine.observe(stack).containers == ()


def test_a_missing_path_is_named(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    with pytest.raises(NotFound, match="/no/such/path") as caught:
        engine.create(replace(spec, mounts=(Mount("/no/such/path", "/x"),)))
    assert caught.value.code == "path_missing"
    assert engine.observe(stack).containers == ()


def test_start_and_stop_may_be_repeated(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    engine.create(spec)
    for _ in range(2):
        engine.start(spec.name)
        assert engine.observe(stack).containers[0].running
    for _ in range(2):
        engine.stop(spec.name, 1)
        assert engine.observe(stack).containers[0].state is ContainerState.EXITED


def test_one_that_is_to_be_restarted_comes_back_by_itself(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    create_and_start(engine, replace(spec, command=ONCE, restart="unless-stopped"))

    def is_back() -> bool:
        (seen,) = engine.observe(stack).containers
        assert seen.goes_on
        return seen.running and engine.logs(spec.name) == ["died", "back"]

    until("its second run", is_back, Deadline.after(20))
    engine.stop(spec.name, 1)
    assert engine.observe(stack).containers[0].state is ContainerState.EXITED


def test_a_stop_also_ends_one_that_is_restarted_again_and_again(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    create_and_start(engine, replace(spec, command=CRASH, restart="unless-stopped"))

    def is_between() -> bool:
        return engine.observe(stack).containers[0].state is ContainerState.RESTARTING

    until("a pause between two runs", is_between, Deadline.after(20))
    assert engine.observe(stack).containers[0].goes_on
    engine.stop(spec.name, 1)
    assert engine.observe(stack).containers[0].state is ContainerState.EXITED


def test_what_is_absent_needs_no_stopping_and_no_removing(engine: Engine, stack: str) -> None:
    engine.stop(f"{stack}_nobody", 1)
    for kind in Kind:
        engine.remove(kind, f"{stack}_nobody")


def test_starting_and_waiting_for_what_is_absent_fails(engine: Engine, stack: str) -> None:
    with pytest.raises(NotFound):
        engine.start(f"{stack}_nobody")
    with pytest.raises(NotFound):
        engine.wait(f"{stack}_nobody", 1)
    with pytest.raises(NotFound):
        engine.logs(f"{stack}_nobody")


def test_a_running_container_is_removed(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    engine.create(spec)
    engine.start(spec.name)
    engine.remove(Kind.CONTAINER, spec.name)
    assert engine.observe(stack).containers == ()


def test_the_exit_code_and_the_log_can_be_had(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(replace(spec, command=TALK))
    engine.start(spec.name)
    assert engine.wait(spec.name, 10) == 3
    assert engine.logs(spec.name) == ["one", "two"]
    assert engine.logs(spec.name, tail=1) == ["two"]


def test_a_log_is_followed_to_its_end(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(replace(spec, command=SHORT))
    engine.start(spec.name)
    assert list(engine.follow(spec.name)) == ["before", "after"]


def test_waiting_too_long_times_out(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(spec)
    engine.start(spec.name)
    with pytest.raises(TimedOut, match=spec.name):
        engine.wait(spec.name, 0.2)


def test_a_taken_port_names_the_container_that_has_it(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    first = replace(spec, publish=(Publish(PORT),))
    second = replace(first, name=f"{stack}_pod_1")
    engine.create(first)
    engine.start(first.name)
    engine.create(second)
    with pytest.raises(Conflict, match=f"port {PORT} .*{first.name}") as caught:
        engine.start(second.name)
    assert caught.value.code == "port_taken"
    seen = engine.observe(stack)
    found = {one.name: one.published for one in seen.containers}
    assert found == {first.name: (PORT,), second.name: ()}


def test_a_fixed_address_stays_and_the_endpoint_is_new_after_every_start(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    network = NetworkSpec(f"{stack}_net", SUBNET, "10.249.77.128/25", resource_labels(stack))
    assert engine.ensure_network(network).subnets == (SUBNET,)
    engine.create(replace(spec, network=network.name, ip="10.249.77.10", aliases=("pod",)))
    seen = []
    for _ in range(2):
        engine.start(spec.name)
        (end,) = engine.observe(stack).containers[0].endpoints
        seen.append(end)
        engine.stop(spec.name, 1)
    assert [end.ip for end in seen] == ["10.249.77.10"] * 2
    assert seen[0].id != seen[1].id
    assert all(end.id for end in seen)
    stopped = engine.observe(stack).containers[0]
    assert [end.id for end in stopped.endpoints] == [""]


def test_a_container_can_live_in_anothers_namespace(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    engine.create(spec)
    engine.start(spec.name)
    inner = replace(spec, name=f"{stack}_pg_a", network_of=spec.name, shm_bytes=1 << 30)
    engine.create(inner)
    engine.start(inner.name)
    seen = engine.observe(stack).container(inner.name)
    assert seen is not None
    assert seen.running
    assert seen.endpoints == ()
    with pytest.raises(NotFound):
        create_and_start(engine, replace(inner, name=f"{stack}_pg_b", network_of=f"{stack}_nobody"))


def test_a_network_is_made_once_and_joins_its_members(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    engine.create(spec)
    engine.start(spec.name)
    network = NetworkSpec(
        f"{stack}_net", SUBNET, labels=resource_labels(stack), members={spec.name: ("controller",)}
    )
    assert engine.ensure_network(network) == engine.ensure_network(network)
    names = [end.network for end in engine.observe(stack).containers[0].endpoints]
    assert network.name in names
    with pytest.raises(Conflict) as caught:
        engine.ensure_network(NetworkSpec(f"{stack}_other", SUBNET, labels=resource_labels(stack)))
    assert caught.value.code == "subnet_taken"


def test_a_volume_is_made_once_and_stays_while_it_is_used(
    engine: Engine, stack: str, spec: ContainerSpec
) -> None:
    volume = VolumeSpec(f"{stack}_state", resource_labels(stack))
    made = engine.ensure_volume(volume)
    assert made == engine.ensure_volume(volume)
    assert made.mountpoint.startswith("/")
    engine.create(replace(spec, mounts=(Mount(volume.name, "/state"),)))
    seen = engine.observe(stack)
    assert seen.volume(volume.name) == made
    assert seen.containers[0].source_of("/state") == made.mountpoint
    with pytest.raises(Conflict) as caught:
        engine.remove(Kind.VOLUME, volume.name)
    assert caught.value.code == "in_use"
    engine.remove(Kind.CONTAINER, spec.name)
    engine.remove(Kind.VOLUME, volume.name)
    assert engine.observe(stack).volumes == ()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_mounted_path_is_read_from_a_container_that_never_ran(
    engine: Engine, spec: ContainerSpec, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "dump").write_bytes(b"x" * 3_000_000)
    source = tmp_path / "dump" if kind == "file" else tmp_path
    engine.create(replace(spec, mounts=(Mount(str(source), "/dump", read_only=True),)))
    archive = b"".join(engine.read_archive(spec.name, "/dump"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        sizes = {member.name: member.size for member in tar if member.isfile()}
    assert sizes == {"dump" if kind == "file" else "dump/dump": 3_000_000}


def test_reading_what_is_not_there_fails(engine: Engine, spec: ContainerSpec) -> None:
    engine.create(spec)
    with pytest.raises(NotFound):
        b"".join(engine.read_archive(spec.name, "/nowhere"))


def test_removing_twice_at_once_is_fine(engine: Engine, stack: str, spec: ContainerSpec) -> None:
    engine.create(spec)
    engine.start(spec.name)
    threads = [threading.Thread(target=engine.remove, args=(Kind.CONTAINER, spec.name)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.create(spec)
    assert [one.labels[label.POD] for one in engine.observe(stack).containers] == ["0"]
