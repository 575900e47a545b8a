"""What the numbers were taken on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.engine import Engine

_REPO = Path(__file__).parents[2]


def describe(engine: Engine) -> dict[str, object]:
    info = engine.api.info()
    version = engine.api.version()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "cpu": _cpu(),
        "memory_bytes": info["MemTotal"],
        "kernel": platform.release(),
        "engine": version["Version"],
        "storage_driver": info["Driver"],
        "python": platform.python_version(),
        "image": engine.image,
        "commit": _git("rev-parse", "--short", "HEAD"),
        "modified": bool(_git("status", "--porcelain")),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git(*args: str) -> str:
    done = subprocess.run(["git", *args], cwd=_REPO, capture_output=True, text=True, check=False)
    return done.stdout.strip()
