"""Newer images under a running stack: what is replaced, and what must not notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import docker
import psycopg
import pytest

from neon_compose.engine import context
from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack

OURS = ("controller", "pageserver", "safekeeper", "compute")
Upgrade = Callable[[Stack], str]


@pytest.fixture
def upgrade(tmp_path: Path) -> Iterator[Upgrade]:
    """`up -d` of another version of neon-compose: a copy whose images carry one more label."""
    root = tmp_path / "newer"
    shutil.copytree(context.package_folder(), root / "neon_compose")
    for folder in ("images", "compose"):
        shutil.copytree(context.data_root() / folder, root / folder)
    shutil.copy(context.package_folder().parent / "pyproject.toml", root)
    for image in OURS:
        with (root / "images" / image / "Dockerfile").open("a") as dockerfile:
            dockerfile.write(f'LABEL test.newer="{tmp_path.name}"\n')
    newer: set[str] = set()

    def up(stack: Stack) -> str:
        before = images_of(stack)
        env = os.environ | {"PYTHONPATH": str(root), "XDG_STATE_HOME": str(stack.folder / "state")}
        program = [sys.executable, "-m", "neon_compose.cli", "up", "-d"]
        done = subprocess.run(
            program, cwd=stack.folder, env=env, capture_output=True, text=True, timeout=600, check=False
        )
        newer.update(images_of(stack) - before)
        assert done.returncode == 0, done.stderr + stack.logs()
        return done.stdout.strip()

    yield up
    with closing(docker.from_env()) as engine:
        for tag in newer & {tag for image in engine.images.list() for tag in image.tags}:
            engine.images.remove(tag, force=True)  # the last container of its stack may still be there


def images_of(stack: Stack) -> set[str]:
    return {one.attrs["Config"]["Image"] for one in stack.containers()}


def identities(stack: Stack) -> dict[str, str]:
    return {one.name.removeprefix(f"{stack.name}_"): one.id for one in stack.containers()}


def test_an_upgrade_replaces_what_serves_and_no_client_notices_until_a_restart_is_asked_for(
    make_stack: StackMaker, upgrade: Upgrade
) -> None:
    """And so does going back."""
    stack = make_stack(Stack.SMALL)
    url = stack.up()
    stack.sql("main", "create table kept (n int)")
    with psycopg.connect(url) as session:
        for n, step in enumerate((upgrade, Stack.up)):
            before = identities(stack)
            session.execute("insert into kept values (%s)", (n,))
            assert step(stack) == url
            after = identities(stack)
            changed = {name for name in before if before[name] != after[name]}
            assert changed == {"controller", "safekeeper_1", "storage_main"}
            assert stack.json("pg", "show", "main")["restart_needed"] is (step is upgrade)
    assert stack.sql("main", "select n from kept order by n") == [(0,), (1,)]


def test_a_restart_brings_the_newer_image_to_a_pg(make_stack: StackMaker, upgrade: Upgrade) -> None:
    stack = make_stack(Stack.SMALL)
    stack.up()
    stack.sql("main", "create table kept as select 1 as n")
    upgrade(stack)
    assert "a newer image" in stack.json("pg", "show", "main")["note"]
    before = images_of(stack)
    stack.cli("pg", "restart", "main")
    assert len(before - images_of(stack)) == 1
    assert not stack.json("pg", "show", "main")["restart_needed"]
    assert stack.sql("main", "select n from kept") == [(1,)]
