from dataclasses import replace

from neon_compose.engine import labels as label
from neon_compose.engine.labels import component_labels, resource_labels, spec_hash
from neon_compose.engine.runtime import ContainerSpec, Mount
from neon_compose.model.states import Component

SPEC = ContainerSpec(name="t_pod_0", image="base:1", mounts=(Mount("vol", "/x"),), env={"A": "1"})


def test_every_container_carries_stack_component_and_version() -> None:
    labels = component_labels("t", Component.POD, pod="0")
    assert labels[label.STACK] == "t"
    assert labels[label.COMPONENT] == "pod"
    assert labels[label.POD] == "0"
    assert label.VERSION in labels
    assert resource_labels("t", storage="s") == {
        label.STACK: "t",
        label.STORAGE: "s",
        label.VERSION: labels[label.VERSION],
    }


def test_the_hash_of_a_spec_changes_with_what_is_asked_for() -> None:
    same = replace(SPEC, env={"A": "1"})
    assert spec_hash(SPEC) == spec_hash(same)
    assert len(spec_hash(SPEC)) == 12
    for changed in (
        replace(SPEC, image="base:2"),
        replace(SPEC, env={"A": "2"}),
        replace(SPEC, mounts=(Mount("vol", "/x", read_only=True),)),
    ):
        assert spec_hash(changed) != spec_hash(SPEC)


def test_version_endpoint_and_the_hash_itself_do_not_change_the_hash() -> None:
    labels = {label.STACK: "t"}
    noisy = labels | {label.SPEC: "x", label.VERSION: "9", label.ENDPOINT: "e"}
    assert spec_hash(replace(SPEC, labels=labels)) == spec_hash(replace(SPEC, labels=noisy))
