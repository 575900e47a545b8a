"""What the engine says when it refuses, in our errors. Pure: a status and a text in, an error out."""

from __future__ import annotations

import re

from neon_compose.errors import Conflict, Invalid, NeonError, NotFound, Unavailable

_PORT = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]*\]):(\d+)")
_MISSING = re.compile(r"bind source path does not exist: (.*)|stat (.*): not a directory")
_UNUSABLE = re.compile(r'invalid mount config for type "bind": l?stat (.*): (.*)')


def refusal(verb: str, subject: str, status: int, said: str) -> NeonError:
    """The error for the engine's answer `said` with HTTP `status` to "`verb` `subject`"."""
    text = said.lower()
    if "no such image" in text:
        image = said.rpartition("image: ")[2].strip()
        return NotFound(
            f'image "{image}" does not exist', hint="neon-compose up builds it.", code="image_missing"
        )
    if match := _MISSING.search(said):
        return NotFound(f'path "{(match[1] or match[2]).strip()}" does not exist', code="path_missing")
    if match := _UNUSABLE.search(said):
        return Invalid(f'path "{match[1][:200]}" can\'t be used', detail=f"{match[2]}.", code="bad_path")
    if "port is already allocated" in text or "address already in use" in text:
        return _port_taken_by_somebody(said)
    if "pool overlaps" in text:
        return Conflict("the subnet overlaps with another network's", code="subnet_taken")
    if "is already in use by container" in text:
        return Conflict(f'container "{subject}" exists already', code="exists")
    if "in use" in text or "active endpoints" in text:
        return Conflict(f"can't {verb} {subject}: something uses it", detail=said, code="in_use")
    if status == 404:
        return NotFound(f"can't {verb} {subject}", detail=said, code="no_such_thing")
    return Unavailable(f"the Docker engine refused to {verb} {subject}", detail=said, code="engine_refused")


def no_answer(said: str) -> Unavailable:
    """The engine is gone, or was never there."""
    if "permission denied" in said.lower():
        hint = "This user may not use the Docker socket: sudo usermod -aG docker $USER, then log in again."
    else:
        hint = "Is it running? systemctl start docker, or set DOCKER_HOST."
    return Unavailable("the Docker engine does not answer", detail=said, hint=hint, code="engine_gone")


def _port_taken_by_somebody(said: str) -> Conflict:
    """`detail` is the port's number alone, for `port_taken` to go on with."""
    match = _PORT.search(said.replace("failed: port", ""))
    return Conflict("a port is taken", detail=match[1] if match else "0", code="port_taken")


def port_taken(error: NeonError, owner: str | None) -> Conflict:
    """The whole error: which port, and who has it."""
    port = error.detail
    who = f'container "{owner}"' if owner else "another process on this machine"
    return Conflict(
        f"port {port} is taken by {who}",
        detail=f"127.0.0.1:{port} can't be published twice.",
        hint=f"docker inspect {owner} tells more about it."
        if owner
        else f"ss -ltnp 'sport = :{port}' shows the process.",
        code="port_taken",
    )
