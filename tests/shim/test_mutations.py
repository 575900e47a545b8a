"""Tests of the shim's tests: each break of mutations.py must be noticed by the program it names.

Everything is compiled once, without sanitizers; a mutant replaces one object.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.shim.mutations import MUTATIONS, Mutation

HERE = Path(__file__).parent
SHIM = HERE.parents[1] / "images/compute/shim"
FLAGS = (
    "-O1",
    "-std=c11",
    "-D_GNU_SOURCE",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
    "-w",
    f"-iquote{SHIM}",
)
BESIDE = {"test_power": ["power_disk"]} | {
    f"test_{name}": ["calls"] for name in ("readwrite", "cut", "sync", "names")
}


@dataclass(frozen=True)
class Build:
    folder: Path

    def mutant(self, mutation: Mutation, into: Path) -> Path:
        """The program that must notice, linked with the broken object."""
        source = (SHIM / mutation.file).read_text()
        for old, new in mutation.edits:
            assert source.count(old) == 1, f"{mutation.file} has changed: {old!r}"
            source = source.replace(old, new)
        broken = into / mutation.file
        broken.write_text(source)
        return self.link(mutation.caught_by, into, broken)

    def link(self, program: str, into: Path, broken: Path | None = None) -> Path:
        name = f"shim_{broken.stem}.o" if broken else ""
        objects = [path for path in self.folder.glob("shim_*.o") if path.name != name]
        objects += [self.folder / f"{one}.o" for one in (program, "fixture", *BESIDE.get(program, ()))]
        out = into / program
        command = ["gcc", *FLAGS, "-o", out, *([broken] if broken else []), *objects, "-ldl"]
        subprocess.run(command, check=True)
        return out


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("shim")
    programs = [str(folder / one) for one in sorted({mutation.caught_by for mutation in MUTATIONS})]
    subprocess.run(
        ["make", "-C", HERE, "-j2", "-s", f"BUILD={folder}", "SANITIZE=", *programs],
        env={**os.environ, "MAKEFLAGS": ""},
        check=True,
    )
    return Build(folder)


def passes(program: Path, folder: Path) -> bool:
    run = subprocess.run(
        [program], env={**os.environ, "TMPDIR": str(folder)}, capture_output=True, timeout=120, check=False
    )
    return run.returncode == 0


@pytest.mark.parametrize("program", sorted({mutation.caught_by for mutation in MUTATIONS}))
def test_a_program_passes_over_the_whole_shim(program: str, build: Build, tmp_path: Path) -> None:
    assert passes(build.link(program, tmp_path), tmp_path)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_broken_shim_is_noticed(mutation: Mutation, build: Build, tmp_path: Path) -> None:
    assert not passes(build.mutant(mutation, tmp_path), tmp_path)
