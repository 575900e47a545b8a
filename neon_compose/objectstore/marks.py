"""What a branch's manifest says of its end: that it has none yet (protected), and when it comes (expires).

Each is one compare-and-swap in the manifest, as the fence of a delete is: of a delete and a protect that meet
one comes first, and the other is refused.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from neon_compose.errors import Conflict
from neon_compose.objectstore.branches import MAIN, read_branch
from neon_compose.objectstore.documents import Manifest
from neon_compose.objectstore.pins import update_manifest
from neon_compose.objectstore.store import ObjectStore


def protect_branch(store: ObjectStore, name: str) -> Manifest:
    """Until `unprotect_branch` it is not deleted, restored or refreshed. Repeat is success.

    Raises `NotFound` code "no_branch".
    """
    return _marked(store, name, protected=True)


def unprotect_branch(store: ObjectStore, name: str) -> Manifest:
    """As `protect_branch`."""
    return _marked(store, name, protected=False)


def expire_branch(store: ObjectStore, name: str, at: datetime | None) -> Manifest:
    """The branch's time is over `at`, or never; who looks after that deletes it. Repeat is success.

    Raises `NotFound` code "no_branch", `Conflict` code "main_branch".
    """
    if name == MAIN and at is not None:
        raise Conflict('branch "main" can\'t expire', hint="Make a branch of it.", code="main_branch")
    return _marked(store, name, expires=at)


def _marked(store: ObjectStore, name: str, **fields: object) -> Manifest:
    branch_id = read_branch(store, name).branch_id
    return update_manifest(store, branch_id, lambda found: replace(found, **fields))  # type: ignore[arg-type]
