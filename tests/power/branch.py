"""A small branch by the package's own code, for the workload to run on, and the programs that run there."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from array import array
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import google_crc32c
import xxhash

from neon_compose.compute.layout import lay_out, make_tip
from neon_compose.compute.paths import ComputePaths
from neon_compose.layer import branchmap
from neon_compose.layer.index import ZERO_PAGE, Extent, Kind, LayerIndex, Segment
from neon_compose.layer.keys import SegmentKey
from neon_compose.model.lsn import Lsn
from tests.golden.make import meta_entries
from tests.power.model import LAYER, SEGMENTS, ZERO, page

HERE = Path(__file__).parent
SHIM = HERE.parent.parent / "images" / "compute" / "shim"
STORAGE = UUID("01900000-0000-7000-8000-00000000000a")
LAYERS = (UUID("01900000-0000-7000-8000-000000000001"), UUID("01900000-0000-7000-8000-000000000002"))
BRANCH = UUID("01900000-0000-7000-8000-00000000000b")
SIZES = (24, 0, 9)  # in blocks, of the segments that the map has

_CFLAGS = ("-O1", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE")


@dataclass(frozen=True)
class Programs:
    shim: Path
    recorder: Path
    workload: Path


def build_recorder(dst: Path) -> Path:
    library = dst / "libpowerrecorder.so"
    sources = [str(HERE / name) for name in ("recorder.c", "recorder_calls.c", "recorder_open.c")]
    shared = ["-fPIC", "-shared", "-Wl,-Bsymbolic-functions"]
    _check(["gcc", *_CFLAGS, *shared, "-o", str(library), *sources, "-ldl"])
    return library


def build(dst: Path, shim_sources: Path = SHIM) -> Programs:
    """The shim from these sources, the recorder and the workload, in the existing folder `dst`.

    Without warnings: a shim broken on purpose has unused variables.
    """
    _check(["make", "-C", str(shim_sources), "-j2", f"BUILD={dst}/shim", "CFLAGS=-O1 -w"])
    workload = dst / "workload"
    _check(["gcc", *_CFLAGS, "-o", str(workload), str(HERE / "workload.c"), "-ldl"])
    return Programs(dst / "shim" / "libneonshim.so", build_recorder(dst), workload)


def _check(command: list[str]) -> None:
    run = subprocess.run(
        command, env={**os.environ, "MAKEFLAGS": ""}, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]


@dataclass(frozen=True)
class Branch:
    """Layers and map in `home`; any number of data folders run on them."""

    home: Path
    programs: Programs

    def run(self, root: Path, *arguments: str, log: Path | None = None) -> bytes:
        """The workload in the data folder `root`, under the shim; recorded if there is a log."""
        paths = ComputePaths(root)
        preload = [self.programs.shim, self.programs.recorder] if log else [self.programs.shim]
        environment = {
            "LD_PRELOAD": " ".join(map(str, preload)),
            "NEON_SHIM_PGDATA": str(paths.data),
            "NEON_SHIM_MAP": str(self.home / "tip.map"),
            "NEON_SHIM_LAYERS": str(self.home),
            "NEON_SHIM_OVERLAY": str(paths.overlay),
            "NEON_SHIM_MARKER": str(paths.marker),
            **({"POWER_LOG": str(log)} if log else {}),
        }
        command = [str(self.programs.workload), *arguments]
        run = subprocess.run(
            command, cwd=paths.data, env=environment, capture_output=True, timeout=120, check=False
        )
        assert run.returncode == 0, f"{run.returncode}: {run.stderr.decode()[-2000:]}"
        return run.stdout

    def contents(self, root: Path) -> list[bytes]:
        """What the segments read as."""
        raw, found, at = self.run(root, "read"), [], 0
        for _ in SEGMENTS:
            (size,) = struct.unpack_from("<Q", raw, at)
            found.append(raw[at + 8 : at + 8 + size])
            at += 8 + size
        return found


def make(home: Path, programs: Programs, rng: random.Random) -> tuple[Branch, Path, list[bytes]]:
    """A branch in the new folder `home`, laid out; its data folder and what its segments hold."""
    home.mkdir()
    truth = [[rng.choice((LAYER, 0)) for _ in range(size)] for size in SIZES]
    indexes = [_layer(home, n, truth, rng) for n in range(2)]
    (home / "tip.map").write_bytes(branchmap.encode(indexes, STORAGE))
    tip = make_tip(branchmap.read_map(home / "tip.map"), meta_entries(), Lsn(0x10000A0))
    paths = ComputePaths(home / "laid-out")
    paths.root.mkdir()
    lay_out(paths, tip, BRANCH)
    paths.marker.write_text("boot\n")
    contents = [
        b"".join(page(s, b, LAYER) if version else ZERO for b, version in enumerate(blocks))
        for s, blocks in enumerate(truth)
    ]
    return Branch(home, programs), paths.root, [*contents, b""]


def _layer(home: Path, n: int, truth: list[list[int]], rng: random.Random) -> LayerIndex:
    """The lower layer has every block, the upper one some again."""
    pages: list[bytes] = []
    segments = []
    for s, blocks in enumerate(truth):
        extents = []
        for b, version in enumerate(blocks):
            if n == 1 and rng.random() < 0.5:
                continue
            where = len(pages) if version else ZERO_PAGE
            extents.append(Extent(b, 1, where))
            pages += [page(s, b, LAYER)] if version else []
        key = SegmentKey.parse(SEGMENTS[s])
        assert key is not None
        segments.append(Segment(key, len(blocks), tuple(extents)))
    (home / f"{LAYERS[n]}.pages").write_bytes(b"".join(pages))
    return LayerIndex(
        layer_id=LAYERS[n],
        storage_id=STORAGE,
        redo=Lsn(0x1000028),
        consistent=Lsn(0x10000A0),
        kind=Kind.DELTA if n else Kind.IMAGE,
        timeline=1,
        pages=len(pages),
        content_hash=xxhash.xxh3_128_digest(b"".join(pages)),
        segments=tuple(sorted(segments)),
        dropped=(),
        page_crcs=array("I", map(google_crc32c.value, pages)),
    )
