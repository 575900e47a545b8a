"""`pip install` of the wheel into an empty venv outside the clone, then `up -d`, is enough."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import Stack

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "-q")


def wheelhouse() -> Path:
    """The wheels this project needs to be built and installed, fetched once for each set of pins."""
    text = (ROOT / "pyproject.toml").read_bytes()
    project = tomllib.loads(text.decode())
    house = ROOT / ".cache/wheels" / hashlib.sha256(text).hexdigest()[:12]
    if not (house / "complete").exists():
        pins = project["project"]["dependencies"] + project["build-system"]["requires"]
        subprocess.run([*PIP, "download", "-d", house, *pins], check=True, timeout=500)
        (house / "complete").touch()
    return house


def test_an_installed_wheel_brings_a_stack_up(make_stack: StackMaker, tmp_path: Path) -> None:
    offline = ["--no-index", "--find-links", wheelhouse()]
    subprocess.run([*PIP, "wheel", *offline, "--no-deps", "-w", tmp_path, ROOT], check=True, timeout=300)
    (wheel,) = tmp_path.glob("neon_compose-*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=300)
    subprocess.run([venv / "bin/pip", "install", "-q", *offline, wheel], check=True, timeout=500)
    stack = make_stack(Stack.SMALL)
    done = subprocess.run(
        [venv / "bin/neon-compose", "up", "-d"],
        cwd=stack.folder,
        env=os.environ | {"XDG_STATE_HOME": str(stack.folder / "state")},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(done.stdout.strip()) as session:
        assert session.execute("select 1").fetchone() == (1,)
