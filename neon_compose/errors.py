"""The tree of errors, and the one table that maps a kind to an HTTP status and an exit code.

    NeonError
      Invalid        a value that can never be right               422  exit 2
      Malformed      not parseable at all                          400  exit 2
      TooLarge       over a documented limit                       413  exit 2
      Unauthorised   no or a wrong token                           401  exit 8
      ForeignHost    a Host header that is not ours                403  exit 8
      NotFound       no such thing                                 404  exit 3
      Conflict       clashes with what exists or runs              409  exit 4
      Unavailable    something it needs does not answer            503  exit 5
      TimedOut       a deadline passed                             504  exit 6
      DiskFull       no room where it has to write                 507  exit 9
      Corrupt        bytes are not what was written; never retried 500  exit 7
      Bug            ours                                          500  exit 70

Style is PostgreSQL's: `message` in lower case without a full stop, names quoted;
`detail` and `hint` are sentences. `code` is a stable machine-readable word.
An error is translated once, at the border (`raise ... from`), and logged once, where it is handled.
"""

from __future__ import annotations

from typing import ClassVar


class NeonError(Exception):
    """An error meant for people: what, why, what to do."""

    kind: ClassVar[str] = "bug"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, detail: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.code = code or self.kind


class Invalid(NeonError):
    kind, status, exit_code = "invalid", 422, 2


class Malformed(NeonError):
    kind, status, exit_code = "malformed", 400, 2


class TooLarge(NeonError):
    kind, status, exit_code = "too_large", 413, 2


class Unauthorised(NeonError):
    kind, status, exit_code = "unauthorised", 401, 8


class ForeignHost(NeonError):
    kind, status, exit_code = "foreign_host", 403, 8


class NotFound(NeonError):
    kind, status, exit_code = "not_found", 404, 3


class Conflict(NeonError):
    kind, status, exit_code = "conflict", 409, 4


class Unavailable(NeonError):
    kind, status, exit_code = "unavailable", 503, 5


class TimedOut(NeonError):
    kind, status, exit_code = "timeout", 504, 6


class DiskFull(NeonError):
    kind, status, exit_code = "disk_full", 507, 9


class Corrupt(NeonError):
    kind, status, exit_code = "corrupt", 500, 7


class Bug(NeonError):
    kind, status, exit_code = "bug", 500, 70


def sentence(error: BaseException) -> str:
    """What somebody else's error says, as a detail: with one full stop. Its type, if it says nothing."""
    said = str(error).strip() or type(error).__name__
    return said if said.endswith((".", "!", "?")) else f"{said}."


KINDS: dict[str, type[NeonError]] = {
    cls.kind: cls
    for cls in (
        Invalid,
        Malformed,
        TooLarge,
        Unauthorised,
        ForeignHost,
        NotFound,
        Conflict,
        Unavailable,
        TimedOut,
        DiskFull,
        Corrupt,
        Bug,
    )
}


def as_problem(error: NeonError) -> dict[str, object]:
    """RFC 9457 problem document; `kind` lets a client rebuild the same error."""
    return {
        "type": f"urn:neon-compose:{error.code}",
        "title": error.message,
        "status": error.status,
        "detail": error.detail,
        "hint": error.hint,
        "code": error.code,
        "kind": error.kind,
    }


def from_problem(problem: dict[str, object]) -> NeonError:
    """The error a problem document describes; what has no known kind is an `Unavailable` peer."""
    cls = KINDS.get(str(problem.get("kind", "")), Unavailable)
    return cls(
        str(problem.get("title") or "the server gave no reason"),
        detail=str(problem.get("detail") or ""),
        hint=str(problem.get("hint") or ""),
        code=str(problem.get("code") or ""),
    )
