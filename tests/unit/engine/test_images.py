"""Which images are built, when, from what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from neon_compose.engine import images, rootfs
from neon_compose.errors import Bug, Unavailable
from tests.fakes_builder import FakeBuilder, FakeMachine, Told, files_of

TAG = re.compile(r"neon-compose-[a-z]+:[0-9a-f]{12}")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def builder() -> FakeBuilder:
    return FakeBuilder(registry=[rootfs.UPSTREAM])


def test_a_tag_is_the_name_and_twelve_hex_digits() -> None:
    assert all(TAG.fullmatch(tag) for tag in images.tags(images.RECIPES).values())


def test_everything_is_built_once_with_parents_first(builder: FakeBuilder) -> None:
    tags = images.ensure(images.ALL, Told(), builder, FakeMachine())
    assert set(tags) == set(images.ALL)
    assert set(tags.values()) <= builder.tags()
    assert sorted(builder.built()) == sorted(images.RECIPES)


def test_only_what_an_image_stands_on_is_built_with_it(builder: FakeBuilder) -> None:
    images.ensure(["compute"], Told(), builder, FakeMachine())
    assert builder.built() == ["base", "postgres", "compute"]


def test_a_second_call_builds_nothing_and_says_so(builder: FakeBuilder) -> None:
    images.ensure(images.ALL, Told(), builder, FakeMachine())
    builder.builds.clear()
    told = Told()
    images.ensure(images.ALL, told, builder, FakeMachine())
    assert builder.builds == []
    assert [step.note for step in told.steps] == ["already there"] * len(images.ALL)


def test_a_missing_parent_is_not_rebuilt_for_a_child_that_is_there(builder: FakeBuilder) -> None:
    tags = images.ensure(["compute"], Told(), builder, FakeMachine())
    builder.present = {tags["compute"]}
    images.ensure(["compute"], Told(), builder, FakeMachine())
    assert builder.tags() == {tags["compute"]}


def test_a_failed_build_tells_its_last_lines_and_leaves_the_images_before_it(builder: FakeBuilder) -> None:
    builder.broken = "postgres"
    with pytest.raises(Unavailable) as failed:
        images.ensure(["compute"], Told(), builder, FakeMachine())
    assert failed.value.exit_code == 5
    assert "no such package" in failed.value.detail
    assert builder.built() == ["base"]


def test_no_engine_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        images.ensure(["base"], Told(), FakeBuilder(answers=False), FakeMachine())


def test_debian_comes_by_debootstrap_where_no_registry_answers() -> None:
    builder, machine = FakeBuilder(), FakeMachine(programs=["debootstrap"])
    images.ensure(["base"], Told(), builder, machine)
    assert [argv[0] for argv in machine.ran] == ["debootstrap", "tar"]
    assert builder.imported == [images.plan([])["debian"].tag]


def test_debian_without_registry_and_root_says_what_to_type() -> None:
    with pytest.raises(Unavailable) as refused:
        images.ensure(["base"], Told(), FakeBuilder(), FakeMachine(root=False, programs=["debootstrap"]))
    assert f"docker import - {images.plan([])['debian'].tag}" in refused.value.hint


def test_a_failed_debootstrap_is_told_with_its_last_lines() -> None:
    machine = FakeMachine(programs=["debootstrap"], on_run=lambda _argv: 1)
    with pytest.raises(Unavailable, match='"debootstrap" failed with status 1') as failed:
        images.ensure(["base"], Told(), FakeBuilder(), machine)
    assert failed.value.detail == "the last line"


def test_debian_is_the_same_image_however_it_came() -> None:
    pulled, made = FakeBuilder(registry=[rootfs.UPSTREAM]), FakeBuilder()
    images.ensure(["base"], Told(), pulled, FakeMachine())
    images.ensure(["base"], Told(), made, FakeMachine(programs=["debootstrap"]))
    assert pulled.tags() == made.tags()


def test_minio_is_taken_from_a_registry_that_answers(builder: FakeBuilder) -> None:
    builder.registry.add(images.MINIO_UPSTREAM)
    tags = images.ensure(["minio"], Told(), builder, FakeMachine())
    assert builder.builds[-1].dockerfile == "Dockerfile.registry"
    assert not any("upstream" in tag for tag in builder.tags())
    assert tags["minio"] in builder.tags()


def test_minio_is_built_from_source_where_none_does(builder: FakeBuilder) -> None:
    images.ensure(["minio"], Told(), builder, FakeMachine())
    assert builder.builds[-1].dockerfile == "Dockerfile"
    assert "ca/ca.crt" in files_of(builder.builds[-1])


def test_both_ways_to_minio_have_one_tag(builder: FakeBuilder) -> None:
    from_source = images.ensure(["minio"], Told(), builder, FakeMachine())
    other = FakeBuilder(registry=[rootfs.UPSTREAM, images.MINIO_UPSTREAM])
    assert images.ensure(["minio"], Told(), other, FakeMachine()) == from_source


def test_images_with_our_code_hold_it_and_no_command_line(builder: FakeBuilder) -> None:
    images.ensure(["controller", "pageserver"], Told(), builder, FakeMachine())
    ours = [b for b in builder.builds if "-controller:" in b.tag or "-pageserver:" in b.tag]
    assert len(ours) == 2
    for build in ours:
        files = files_of(build)
        assert "package/neon_compose/__init__.py" in files
        assert not any(path.startswith("package/neon_compose/cli/") for path in files)


def test_dependencies_are_a_layer_without_our_code(builder: FakeBuilder) -> None:
    images.ensure(["controller"], Told(), builder, FakeMachine())
    python = next(build for build in builder.builds if "-python:" in build.tag)
    files = files_of(python)
    assert b"fastapi==" in files["requirements.txt"]
    assert b"pytest" not in files["requirements.txt"]
    assert not any(path.startswith("package/") for path in files)


def test_certificates_and_indexes_go_where_they_are_used_and_change_no_tag(
    builder: FakeBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = images.tags()
    monkeypatch.setenv("PIP_INDEX_URL", "https://pypi.example/simple")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    images.ensure(images.ALL, Told(), builder, FakeMachine())
    with_index = {b.tag.split(":")[0] for b in builder.builds if "PIP_INDEX_URL" in (b.args or {})}
    assert with_index == {"neon-compose-python"}
    assert all((b.args or {})["HTTPS_PROXY"] == "http://proxy.example:3128" for b in builder.builds)
    assert images.tags() == before


def test_prune_removes_old_images_but_none_in_use(builder: FakeBuilder) -> None:
    tags = images.ensure(images.ALL, Told(), builder, FakeMachine())
    builder.present |= {"neon-compose-base:000000000000", "neon-compose-compute:000000000000"}
    builder.in_use = {"neon-compose-compute:000000000000"}
    assert images.prune(builder) == ["neon-compose-base:000000000000"]
    assert set(tags.values()) <= builder.tags()


def test_an_unknown_image_is_our_bug() -> None:
    with pytest.raises(Bug, match='no image "nonsense"'):
        images.tags(["nonsense"])


def test_every_dockerfile_ends_as_our_user_and_names_every_parent() -> None:
    for image in images.plan(images.RECIPES).values():
        for file in image.files:
            if file.path.startswith("Dockerfile"):
                text = file.content.decode()
                assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "10001:10001"
                declared = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
                assert declared >= set(image.parents or {})


def test_no_certificate_or_index_is_named_in_a_final_stage() -> None:
    for image in images.plan(images.RECIPES).values():
        for file in image.files:
            if file.path.startswith("Dockerfile"):
                final = re.split(r"^FROM ", file.content.decode(), flags=re.MULTILINE)[-1]
                assert not re.search(r"ca\.crt|PIP_|GOPROXY|ARG ", final)
