"""Every command of README.md runs, in order, on a real stack."""

from __future__ import annotations

import os
import subprocess

from tests.e2e.conftest import StackMaker
from tests.e2e.stack import PROGRAM, Stack
from tests.readme import README, sessions


def test_every_command_of_the_readme_does_what_it_says(make_stack: StackMaker) -> None:
    stack = make_stack(Stack.SMALL)
    stack.up()
    env = os.environ | {
        "XDG_STATE_HOME": str(stack.folder / "state"),
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
    }
    ran = 0
    for session in sessions(README.read_text()):
        if session.not_run:
            continue
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", session.script(stack.client_file["url"])],
            cwd=stack.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = f"README.md:{session.line}\n{done.stdout}{done.stderr}"
        assert done.returncode == session.exit_code, said + stack.logs()
        ran += 1
    assert ran >= 10
