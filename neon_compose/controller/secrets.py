"""Random secrets in the state volume (0600): made once, never changed, never in labels, argv or logs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from neon_compose import durable

FOLDER = "secrets"


@dataclass(frozen=True)
class Secrets:
    """What is secret in a stack, read into memory; files of the same names are mounted into containers."""

    token: str  # the public API's
    internal_token: str  # the pageservers'
    minio_root_user: str
    minio_root_password: str
    minio_user: str
    minio_password: str

    def __repr__(self) -> str:
        return "Secrets(…)"


def ensure_secrets(state: Path) -> Secrets:
    """All secrets under `state`, the missing ones made. Durable on return."""
    folder = state / FOLDER
    durable.make_folder(folder)
    durable.sweep(folder)
    return Secrets(**{name: _ensure(folder / name, _bytes(name)) for name in Secrets.__annotations__})


def _bytes(name: str) -> int:
    return 10 if name.endswith("_user") else 24  # an S3 access key has 3 to 20 characters, a secret 8 to 40


def _ensure(path: Path, random_bytes: int) -> str:
    if not path.exists():
        durable.write_file(path, secrets.token_hex(random_bytes).encode()[:40])
    return path.read_text().strip()
