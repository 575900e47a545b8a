"""Plans against literals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network

import pytest

from neon_compose.controller import plan, specs
from neon_compose.controller.desired import Desired, PgDoc, StackDoc, StorageDoc
from neon_compose.controller.observe import Snapshot
from neon_compose.controller.plan import BranchStart
from neon_compose.controller.steps import CreateContainer, Initialise, Plan
from neon_compose.engine import labels as label
from neon_compose.engine.runtime import (
    Container,
    ContainerSpec,
    ContainerState,
    Endpoint,
    Mount,
    Volume,
    World,
)
from neon_compose.errors import Conflict, Unavailable
from neon_compose.model.source import parse_source
from neon_compose.model.states import Component, PgState, Wanted
from tests.site import IMAGES

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUBNET = IPv4Network("10.213.7.0/24")
SHOP = StorageDoc(name="shop", created_at=NOW)
PG = PgDoc(name="a", storage_name="shop", branch="main", port=15432, ports="15432-15447", created_at=NOW)
RUNNING = PG.model_copy(update={"wanted": Wanted.RUNNING, "started": True})
STOPPED = PG.model_copy(update={"started": True})
INIT = BranchStart(parse_source("main@init"), there=False)


def container(component: Component, name: str, *, up: bool = True, **labels: str) -> Container:
    prefixed = {label.PREFIX + key: value for key, value in labels.items()}
    return Container(
        name=name,
        id=name,
        image=IMAGES[{"pod": "base"}.get(component.value, component.value)],
        state=ContainerState.RUNNING if up else ContainerState.EXITED,
        labels={label.STACK: "t", label.COMPONENT: component.value, **prefixed},
        mounts=(Mount("/vols/work", "/work"), Mount("/vols/storage", "/storage")),
        endpoints=(Endpoint("t_net", "10.0.0.10" if up else "", "e1" if up else ""),),
    )


def pageserver(*, up: bool = True, spec: str | None = None) -> Container:
    made = specs.pageserver_spec("t", SHOP, IMAGES["pageserver"], plan.secret(snap(), "internal_token"), 0)
    return container(
        Component.PAGESERVER,
        "t_storage_shop",
        up=up,
        storage="shop",
        spec=spec or made.labels[label.SPEC],
    )


def safekeeper(*, up: bool = True, spec: str | None = None) -> Container:
    made = safekeeper_spec(1)
    spec = spec or made.labels[label.SPEC]
    return container(Component.SAFEKEEPER, "t_safekeeper_1", up=up, safekeeper="1", spec=spec)


def safekeeper_spec(number: int) -> ContainerSpec:
    token = plan.secret(snap(), "internal_token")
    return specs.safekeeper_spec("t", number, IMAGES["safekeeper"], SUBNET, token)


def pod(*, up: bool = True) -> Container:
    return container(Component.POD, "t_pod_0", up=up, pod="0", ports="15432-15447")


def compute(doc: PgDoc = PG, *, up: bool = True, endpoint: str = "e1") -> Container:
    return container(
        Component.COMPUTE,
        f"t_pg_{doc.name}",
        up=up,
        pg=doc.name,
        ports=str(doc.port),
        endpoint=endpoint,
        given=doc.given,
    )


def snap(*seen: Container, pgs: tuple[PgDoc, ...] = (), volumes: tuple[Volume, ...] = ()) -> Snapshot:
    desired = Desired(StackDoc(images=IMAGES), {"shop": SHOP}, {doc.name: doc for doc in pgs})
    return Snapshot("t", desired, World(seen, (), volumes), "/state")


def shown(steps: Plan) -> list[str]:
    return [f"{row['action']} {row['target']}" for row in steps.rows()]


def test_a_new_storage() -> None:
    assert shown(plan.plan_attach(snap(), SHOP, Initialise("shop"))) == [
        "write document storage shop",
        "make volume t_work_shop",
        "make volume t_storage_shop",
        "create container t_storage_shop",
        "start container t_storage_shop",
        "await pageserver storage shop",
        "initialise storage shop",
        "write document storage shop",
    ]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((safekeeper(),), []),
        ((safekeeper(up=False),), ["start container t_safekeeper_1", "await safekeeper t_safekeeper_1"]),
        (
            (),
            [
                "make volume t_safekeeper_1",
                "create container t_safekeeper_1",
                "start container t_safekeeper_1",
                "await safekeeper t_safekeeper_1",
            ],
        ),
        (
            (safekeeper(spec="older"),),
            [
                "stop container t_safekeeper_1",
                "remove container t_safekeeper_1",
                "create container t_safekeeper_1",
                "start container t_safekeeper_1",
                "await safekeeper t_safekeeper_1",
            ],
        ),
    ],
)
def test_a_safekeeper_runs_and_is_up_to_date(seen: tuple[Container, ...], expected: list[str]) -> None:
    assert shown(plan.plan_safekeeper(snap(*seen), 1, SUBNET)) == expected


def test_safekeepers_come_back_by_themselves_at_addresses_below_those_of_pods() -> None:
    made = [safekeeper_spec(number) for number in (1, 8)]
    assert [one.ip for one in made] == ["10.213.7.2", "10.213.7.9"]
    assert [one.aliases for one in made] == [("safekeeper-1",), ("safekeeper-8",)]
    assert [one.mounts[0] for one in made] == [
        Mount("t_safekeeper_1", "/safekeeper"),
        Mount("t_safekeeper_8", "/safekeeper"),
    ]
    assert {one.restart for one in made} == {"unless-stopped"}
    assert specs.pod_spec("t", 0, (15432,), "i", SUBNET, "127.0.0.1").ip == "10.213.7.10"


@pytest.mark.parametrize(("count", "hosts"), [(0, ""), (1, "safekeeper-1"), (2, "safekeeper-1,safekeeper-2")])
def test_a_pageserver_is_told_the_safekeepers_of_its_stack(count: int, hosts: str) -> None:
    desired = Desired(StackDoc(images=IMAGES, safekeepers=count), {"shop": SHOP}, {})
    (made,) = (
        step.spec
        for step in plan.plan_pageserver(Snapshot("t", desired, World()), SHOP).steps
        if isinstance(step, CreateContainer)
    )
    assert made.env["NEON_SAFEKEEPERS"] == hosts


def test_a_volume_that_was_there_is_not_undone() -> None:
    there = Volume("t_storage_shop", "/vols/storage", {})
    steps = plan.plan_attach(snap(volumes=(there,)), SHOP, Initialise("shop")).steps
    assert [step.fresh for step in steps if hasattr(step, "fresh")] == [True, False]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((pageserver(),), []),
        ((pageserver(up=False),), ["start container t_storage_shop", "await pageserver storage shop"]),
        (
            (),
            [
                "make volume t_work_shop",
                "make volume t_storage_shop",
                "create container t_storage_shop",
                "start container t_storage_shop",
                "await pageserver storage shop",
            ],
        ),
        (
            (pageserver(spec="older"),),
            [
                "stop container t_storage_shop",
                "remove container t_storage_shop",
                "create container t_storage_shop",
                "start container t_storage_shop",
                "await pageserver storage shop",
            ],
        ),
        (
            (replace(pageserver(), endpoints=()),),
            [
                "stop container t_storage_shop",
                "remove container t_storage_shop",
                "create container t_storage_shop",
                "start container t_storage_shop",
                "await pageserver storage shop",
            ],
        ),
    ],
    ids=["runs", "stopped", "missing", "outdated", "out of its network"],
)
def test_a_pageserver_is_brought_to_its_spec(seen: tuple[Container, ...], expected: list[str]) -> None:
    assert shown(plan.plan_pageserver(snap(*seen), SHOP)) == expected


def test_detaching_keeps_the_data() -> None:
    assert shown(plan.plan_detach(snap(pageserver()), SHOP, purge=False)) == [
        "write document storage shop",
        "stop container t_storage_shop",
        "remove container t_storage_shop",
        "remove volume t_work_shop",
        "remove document storage shop",
    ]


def test_purging_removes_the_data_too() -> None:
    assert "remove volume t_storage_shop" in shown(plan.plan_detach(snap(), SHOP, purge=True))
    folder = SHOP.model_copy(update={"host_path": "/srv/shop"})
    assert "purge folder /srv/shop" in shown(plan.plan_detach(snap(), folder, purge=True))


def test_a_storage_with_pgs_is_not_detached() -> None:
    with pytest.raises(Conflict) as caught:
        plan.plan_detach(snap(pageserver(), pgs=(PG,)), SHOP, purge=False)
    assert '"a"' in caught.value.detail


def test_a_branch_in_one_request() -> None:
    """DESIGN 9's budget stands on this order: layout beside create, the gate beside start."""
    steps = plan.plan_start(snap(pageserver(), pod()), PG, INIT)
    assert shown(steps) == [
        "write document pg a",
        "prepare pg a",
        "create container t_pg_a",
        "lay out pg a",
        "start and open pg a",
    ]
    assert len(steps.steps) == 4


def test_a_branch_that_is_there_is_only_compared() -> None:
    there = BranchStart(INIT.origin, there=True)
    assert shown(plan.plan_start(snap(pageserver(), pod()), PG, there))[:3] == [
        "write document pg a",
        "make branch branch shop/main",
        "prepare pg a",
    ]


def test_settings_are_checked_before_anything_is_written() -> None:
    doc = PG.model_copy(update={"settings": {"work_mem": "1MB"}})
    assert shown(plan.plan_put(snap(), doc, INIT)) == [
        "check settings pg a",
        "write document pg a",
        "make branch branch shop/main",
    ]


def test_a_pg_that_is_as_asked_needs_nothing() -> None:
    assert plan.plan_put(snap(pgs=(PG,)), PG, None) == Plan()
    assert plan.plan_start(snap(pageserver(), pod(), compute(), pgs=(RUNNING,)), RUNNING) == Plan()


def test_a_dead_compute_is_replaced() -> None:
    seen = snap(pageserver(), pod(), compute(up=False), pgs=(RUNNING,))
    assert seen.pg_state(RUNNING) is PgState.FAILED
    assert shown(plan.plan_start(seen, RUNNING)) == [
        "remove container t_pg_a",
        "prepare pg a",
        "create container t_pg_a",
        "lay out pg a",
        "start and open pg a",
    ]


def test_a_compute_whose_pod_was_restarted_is_restarted() -> None:
    seen = snap(pageserver(), pod(), compute(endpoint="e0"), pgs=(RUNNING,))
    assert shown(plan.plan_start(seen, RUNNING))[:3] == [
        "stop container t_pg_a",
        "remove container t_pg_a",
        "prepare pg a",
    ]


def test_a_compute_needs_a_running_pod_and_pageserver() -> None:
    for seen in (snap(pageserver(), pod(up=False)), snap(pageserver(up=False), pod())):
        with pytest.raises(Unavailable):
            plan.plan_start(seen, PG)


def test_stopping_keeps_the_container_for_its_log() -> None:
    seen = snap(pageserver(), pod(), compute(), pgs=(RUNNING,))
    assert shown(plan.plan_stop(seen, RUNNING)) == ["write document pg a", "stop container t_pg_a"]
    assert plan.plan_stop(snap(pgs=(STOPPED,)), STOPPED) == Plan()


def test_a_paused_compute_goes_on_and_is_looked_at_again() -> None:
    paused = replace(compute(RUNNING), state=ContainerState.PAUSED)
    steps = plan.plan_start(snap(pageserver(), pod(), paused, pgs=(RUNNING,)), RUNNING)
    assert shown(steps) == ["start container t_pg_a", "prepare pg a", "start and open pg a"]


def test_restarting_brings_new_settings() -> None:
    seen = snap(pageserver(), pod(), compute(), pgs=(RUNNING,))
    changed = RUNNING.model_copy(update={"settings": {"work_mem": "1MB"}})
    assert seen.restart_for(changed) == "its changed settings"
    assert seen.restart_for(RUNNING) is None
    assert shown(plan.plan_restart(seen, RUNNING)) == [
        "stop container t_pg_a",
        "remove container t_pg_a",
        "prepare pg a",
        "create container t_pg_a",
        "lay out pg a",
        "start and open pg a",
    ]


def test_destroying_asks_the_pageserver_first() -> None:
    seen = snap(pageserver(), pod(), compute(up=False), pgs=(STOPPED,))
    assert shown(plan.plan_destroy(seen, STOPPED, discard_writes=False)) == [
        "write document pg a",
        "delete data of pg a",
        "remove container t_pg_a",
        "remove document pg a",
    ]


def test_a_pod_for_one_port_goes_with_its_pg() -> None:
    lone = container(Component.POD, "t_pod_1", pod="1", ports="16200")
    doc = STOPPED.model_copy(update={"port": 16200, "ports": "16200"})
    assert shown(plan.plan_destroy(snap(pageserver(), lone, pgs=(doc,)), doc, discard_writes=False))[-2:] == [
        "remove container t_pod_1",
        "remove document pg a",
    ]


def test_a_running_pg_is_not_destroyed() -> None:
    with pytest.raises(Conflict, match="running"):
        plan.plan_destroy(snap(compute(), pgs=(RUNNING,)), RUNNING, discard_writes=True)


def test_the_stack_is_stopped_in_order() -> None:
    again = container(Component.SAFEKEEPER, "t_safekeeper_2", safekeeper="2")
    again = replace(again, state=ContainerState.RESTARTING)
    ended = container(Component.SAFEKEEPER, "t_safekeeper_3", up=False, safekeeper="3")
    seen = snap(
        pod(), pageserver(), compute(), container(Component.MINIO, "t_minio"), safekeeper(), again, ended
    )
    assert [(name, shown(stage)) for name, stage in plan.plan_stop_all(seen)] == [
        ("computes", ["stop container t_pg_a"]),
        ("pageservers", ["stop container t_storage_shop"]),
        ("safekeepers", ["stop container t_safekeeper_1", "stop container t_safekeeper_2"]),
        ("minio", ["stop container t_minio"]),
        ("pods", ["stop container t_pod_0"]),
    ]
