"""The shim broken on purpose: the test program named for each break must fail, and pass on the shim as it is.

Built without sanitizers: what is tested is whether the programs' own checks notice. Only the changed files
are compiled anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shim.mutants import MUTANTS, Mutant

HERE = Path(__file__).parent
SHIM = HERE.parent.parent / "images" / "compute" / "shim"
FLAGS = ("-O1", "-std=c11", "-D_GNU_SOURCE", "-w", "-fno-strict-aliasing", "-U_FORTIFY_SOURCE")
PROGRAMS = sorted({mutant.caught_by for mutant in MUTANTS})
ALSO_LINKED = {"test_power": ["power_disk"]} | {
    f"test_{name}": ["calls"] for name in ("readwrite", "cut", "reuse", "refusals", "sync", "names")
}
ALSO_LINKED |= {
    f"test_{name}": ["stress_model", "stress_ops", "stress_redo"] for name in ("stress", "threads")
}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all object files and whole programs of the shim as it is."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler here")
    build = tmp_path_factory.mktemp("objects")
    programs = [str(build / name) for name in PROGRAMS]
    command = ["make", "-C", str(HERE), "-j2", "SANITIZE=", f"BUILD={build}", *programs]
    _run(command, build, timeout=240).check_returncode()
    return build


def _run(command: list[str], tmp: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TMPDIR": str(tmp), "MAKEFLAGS": ""}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def _build(mutant: Mutant, objects: Path, tmp: Path) -> Path:
    sources: dict[str, str] = {}
    for edit in mutant.edits:
        text = sources.get(edit.file) or (SHIM / edit.file).read_text()
        assert text.count(edit.old) == 1, f"{edit.file} has {text.count(edit.old)} times: {edit.old}"
        sources[edit.file] = text.replace(edit.old, edit.new)
    linked = [
        objects / f"{name}.o"
        for name in (mutant.caught_by, "fixture", *ALSO_LINKED.get(mutant.caught_by, []))
    ]
    linked += [path for path in objects.glob("shim_*.o") if f"{path.stem[5:]}.c" not in sources]
    for file, text in sources.items():
        (tmp / file).write_text(text)
        linked.append(tmp / f"{file}.o")
        _run(
            ["gcc", *FLAGS, "-iquote", str(SHIM), "-c", "-o", str(linked[-1]), str(tmp / file)], tmp, 60
        ).check_returncode()
    program = tmp / mutant.caught_by
    _run(["gcc", "-o", str(program), *map(str, linked), "-pthread", "-ldl"], tmp, 60).check_returncode()
    return program


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_shim_as_it_is_passes(program: str, objects: Path, tmp_path: Path) -> None:
    run = _run([str(objects / program)], tmp_path, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_broken_shim_is_caught(mutant: Mutant, objects: Path, tmp_path: Path) -> None:
    run = _run([str(_build(mutant, objects, tmp_path))], tmp_path, timeout=120)
    assert run.returncode != 0, f"{mutant.caught_by} passes although {mutant.name}"
