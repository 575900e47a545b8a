"""URL and token of a stack's controller, in $XDG_STATE_HOME/neon-compose/<stack>.json (mode 0600).

The file is a copy: the truth is the controller's state volume. It may be lost or stale at any time and is
then fetched again through the engine.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from neon_compose import settings
from neon_compose.model.names import Name


@dataclass(frozen=True)
class Access:
    url: str
    token: str

    def __repr__(self) -> str:
        return f"Access({self.url!r}, token hidden)"


def path_of(stack: Name) -> Path:
    return settings.state_home() / f"{stack}.json"


def read(stack: Name) -> Access | None:
    """What the file says, or None when it is absent or not ours."""
    try:
        document = json.loads(path_of(stack).read_text())
        return Access(str(document["url"]), str(document["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(stack: Name, access: Access) -> None:
    """Replace the file by rename; it is 0600 from its first byte on."""
    target = path_of(stack)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(access), file)
    aside.replace(target)


@contextmanager
def one_at_a_time(stack: Name) -> Iterator[None]:
    """Keep two `up` of ours from making one controller twice; the lock dies with its process."""
    folder = settings.state_home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{stack}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forget(stack: Name) -> None:
    path_of(stack).unlink(missing_ok=True)
